"""A schedule: what runs, when, for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal

from atf.schedules.misfire import MisfirePolicy


class Unchanged(Enum):
    """The one value that means "leave it as it is" where None means something else."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
KEEP = Literal[Unchanged.UNCHANGED]


@dataclass(frozen=True, slots=True)
class ScheduleCreate:
    """What a user gives to make a schedule; None means the default of this installation or of the job type.

    ``calendar``: the exchange on whose holidays it does not run, None for every day.
    """

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
    misfire_policy: str | None = None
    calendar: str | None = None
    max_runtime_seconds: float | None = None
    max_attempts: int | None = None
    retry_delay_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ScheduleUpdate:
    """What a user changes of a schedule; what is not given stays.

    ``version``: the one that the user has seen; the change is refused if there is a newer one by then. None in
    ``calendar`` and the three limits takes away what the schedule says of its own.
    """

    name: str | KEEP = UNCHANGED
    target: str | KEEP = UNCHANGED
    task_params: Mapping[str, Any] | KEEP = UNCHANGED
    cron: str | KEEP = UNCHANGED
    timezone: str | KEEP = UNCHANGED
    calendar: str | KEEP | None = UNCHANGED
    priority: int | KEEP = UNCHANGED
    coalesce: bool | KEEP = UNCHANGED
    max_instances: int | KEEP = UNCHANGED
    misfire_grace_seconds: int | KEEP = UNCHANGED
    misfire_policy: str | KEEP = UNCHANGED
    max_runtime_seconds: float | KEEP | None = UNCHANGED
    max_attempts: int | KEEP | None = UNCHANGED
    retry_delay_seconds: float | KEEP | None = UNCHANGED
    version: int | None = None

    def applied_to(self, schedule: Schedule) -> ScheduleCreate:
        """Return the schedule as it is wanted."""
        present = {one.name: getattr(schedule, one.name) for one in fields(ScheduleCreate)}
        wanted = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "version"}
        given = {name: value for name, value in wanted.items() if value is not UNCHANGED}
        return ScheduleCreate(**present | given)


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
    misfire_policy: MisfirePolicy = MisfirePolicy.RUN_ONCE
    calendar: str | None = None
    effective_from: datetime | None = None
    max_runtime_seconds: float | None = None
    max_attempts: int | None = None
    retry_delay_seconds: float | None = None

    @property
    def rhythm(self) -> tuple[str, str, str | None]:
        """What decides when it runs: schedules of one rhythm share a group."""
        return self.cron, self.timezone, self.calendar
