"""A schedule: what runs, when, for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ScheduleCreate:
    """What a user gives to make a schedule; None means the default of this installation."""

    name: str
    job_type: str
    target: str
    cron: str
    timezone: str = "UTC"
    task_params: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    enabled: bool = True
    coalesce: bool | None = None
    max_instances: int | None = None
    misfire_grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class ScheduleDefaults:
    """What a schedule gets that does not say otherwise."""

    coalesce: bool = False
    max_instances: int = 3
    misfire_grace_seconds: int = 30

    def fill(self, schedule: ScheduleCreate) -> ScheduleCreate:
        """Return the schedule with everything said."""
        said = {name: getattr(schedule, name) for name in self.__slots__}
        missing = {name: getattr(self, name) for name, value in said.items() if value is None}
        return replace(schedule, **missing)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as stored."""

    id: int
    user_id: int
    name: str
    job_type: str
    target: str
    task_params: Mapping[str, Any]
    cron: str
    timezone: str
    enabled: bool
    priority: int
    next_run_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int
    coalesce: bool = False
    max_instances: int = 3
    misfire_grace_seconds: int = 30
