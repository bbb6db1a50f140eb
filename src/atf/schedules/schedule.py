"""A schedule: what runs, when, for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ScheduleCreate:
    """What a user gives to make a schedule."""

    name: str
    job_type: str
    target: str
    cron: str
    timezone: str = "UTC"
    task_params: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    enabled: bool = True


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
