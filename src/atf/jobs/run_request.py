"""What programs ask for when they make or change a run, and the run as it will be stored. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from atf.errors import InvalidInput, shown
from atf.jobs.field_checks import require_integer, require_params, require_text
from atf.jobs.job_type import JobTypes
from atf.jobs.run import RunId, RunRecord, RunStatus
from atf.jobs.schedule_checks import MOST_PRIORITY
from atf.schedules.schedule import Schedule

NOTIFY: Final = "notify"
"""The name in a run's snapshot under which it says on which channels its user is told of its end."""
NOTIFY_CHANNELS: Final = ("inbox", "console", "telegram", "email", "sms", "webhook", "apprise", "web")
_OWN_LIMITS: Final = ("max_runtime_seconds", "retry_delay_seconds")


@dataclass(frozen=True, slots=True)
class RunCreate:
    """One run without a schedule. ``available_at``: not before; ``name``: default type and target.

    ``notify``: the channels on which its user is told when it has ended; none: the user looks.
    """

    job_type: str
    target: str
    task_params: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    available_at: datetime | None = None
    name: str | None = None
    notify: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """What a program outside of the workers changes of a run; None stays as it is.

    A run becomes RUNNING for ``worker_id``. Instants are the database's unless they are given.
    """

    status: RunStatus | None = None
    worker_id: str | None = None
    result: Mapping[str, Any] | None = None
    error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be stored. Without ``scheduled_for`` it is the instant at which the database stores it.

    ``queues_behind_own``: it stands behind the waiting ad-hoc runs of its user and type.
    """

    job_type: str
    job_id: int | None
    user_id: int | None
    retention_class: str
    snapshot: Mapping[str, Any]
    priority: int
    max_attempts: int
    scheduled_for: datetime | None = None
    available_at: datetime | None = None
    retry_of: RunId | None = None

    @property
    def queues_behind_own(self) -> bool:
        """Whether a crowd of such runs of one user must not keep others waiting."""
        return self.job_id is None


def checked_request(request: RunCreate, types: JobTypes) -> RunCreate:
    """Return the request with everything said. Errors: InvalidInput that names the field."""
    definition = types.get(request.job_type)
    if definition.needs_schedule:
        raise InvalidInput(
            f"runs of {shown(request.job_type)} belong to a schedule; add one and trigger it", field="job_type"
        )
    require_text(request.target, "target")
    name = request.name or f"{request.job_type} {request.target}"[:255]
    require_text(name, "name")
    require_integer(request.priority, "priority", -MOST_PRIORITY, MOST_PRIORITY)
    if request.available_at is not None and request.available_at.tzinfo is None:
        raise InvalidInput("must be a time with its zone", field="available_at")
    params = definition.prepare(request.target, require_params(request.task_params))
    return replace(request, name=name, task_params=params, notify=_checked_channels(request.notify))


def _checked_channels(channels: Sequence[str]) -> tuple[str, ...]:
    for channel in channels:
        if channel not in NOTIFY_CHANNELS:
            raise InvalidInput(
                f"must be channels of {', '.join(NOTIFY_CHANNELS)}, got {shown(channel)}", field=NOTIFY
            )
    return tuple(dict.fromkeys(channels))


def run_of_request(user_id: int, request: RunCreate, types: JobTypes) -> NewRun:
    """Return the run of a checked request."""
    definition = types.get(request.job_type)
    snapshot = {"name": request.name, "target": request.target, "task_params": dict(request.task_params)}
    asks = {NOTIFY: list(request.notify)} if request.notify else {}
    return NewRun(
        job_type=request.job_type,
        job_id=None,
        user_id=user_id,
        retention_class=definition.retention_class,
        snapshot=snapshot | asks,
        priority=request.priority,
        max_attempts=definition.limits.max_attempts,
        available_at=request.available_at,
    )


def run_of_schedule(schedule: Schedule, types: JobTypes) -> NewRun:
    """Return a run of a schedule as it is now."""
    definition = types.get(schedule.job_type)
    limits = {name: getattr(schedule, name) for name in _OWN_LIMITS if getattr(schedule, name) is not None}
    snapshot = {
        "name": schedule.name,
        "target": schedule.target,
        "version": schedule.version,
        "task_params": dict(schedule.task_params),
    }
    return NewRun(
        job_type=schedule.job_type,
        job_id=schedule.id,
        user_id=schedule.user_id,
        retention_class=definition.retention_class,
        snapshot=snapshot | ({"limits": limits} if limits else {}),
        priority=schedule.priority,
        max_attempts=schedule.max_attempts or definition.limits.max_attempts,
    )


def run_again(run: RunRecord, types: JobTypes) -> NewRun:
    """Return a new run with the snapshot of an old one; it begins with its first attempt."""
    return NewRun(
        job_type=run.job_type,
        job_id=run.job_id,
        user_id=run.user_id,
        retention_class=types.get(run.job_type).retention_class,
        snapshot=run.snapshot or {},
        priority=run.priority,
        max_attempts=attempts_of(run.max_attempts, run.attempts),
        retry_of=run.run_id,
    )


def attempts_of(max_attempts: int, attempts: Sequence[Mapping[str, Any]]) -> int:
    """Return how many attempts a run had at first: each time it was handed back it got one more."""
    handed_back = len([one for one in attempts if one.get("outcome") == "handed_back"])
    return max(1, max_attempts - handed_back)
