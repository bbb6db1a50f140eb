"""A run: one execution of a job, its identity, and the states it may pass through.

::

    PENDING ──claim──▶ RUNNING ──▶ COMPLETED | FAILED | CANCELLED
       │                  └──put back, rescue──▶ PENDING
       └──▶ CANCELLED
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NewType
from uuid import UUID

WorkerId = NewType("WorkerId", str)
RunId = NewType("RunId", UUID)


class JobType(StrEnum):
    """What a job does."""

    REPORT = "report"
    SCREENER = "screener"
    ALERT = "alert"
    NOTIFICATION = "notification"
    DATA_PROCESSING = "data_processing"
    BACKUP = "backup"


class RunStatus(StrEnum):
    """Where a run is; the last three are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended for good."""
        return not TRANSITIONS[self]

    def may_become(self, other: RunStatus) -> bool:
        """Return whether the transition table allows the change."""
        return other in TRANSITIONS[self]


TRANSITIONS: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.RUNNING: frozenset({RunStatus.PENDING, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class RunKey:
    """A run's primary key: with all of it a write touches one partition only."""

    retention_class: str
    scheduled_for: datetime
    id: int


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that a worker holds; ``attempt`` and the worker's id fence everything it writes.

    ``waited``: from the instant it might have begun to the instant it was claimed, by the database's clock.
    ``version`` is that of its snapshot, as text; the snapshot itself is left in the database for runs of a
    batch, whose handlers read what is configured now.
    """

    key: RunKey
    run_id: RunId
    job_type: str
    job_id: int | None
    user_id: int | None
    attempt: int
    max_attempts: int
    snapshot: Mapping[str, Any]
    waited: timedelta = timedelta(0)
    version: str | None = None

    @property
    def name(self) -> str:
        """How logs name the run's job: type and schedule, or the run itself if it has none."""
        return f"{self.job_type}_{self.run_id if self.job_id is None else self.job_id}"


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    """Runs of one type, claimed together by one worker."""

    worker_id: WorkerId
    job_type: str
    runs: tuple[ClaimedRun, ...]

    def of_jobs(self, job_ids: frozenset[int]) -> tuple[ClaimedRun, ...]:
        """Return the runs that belong to these jobs."""
        return tuple(run for run in self.runs if run.job_id in job_ids)


@dataclass(frozen=True, slots=True)
class Completion:
    """What a finished run leaves behind; ``used`` replaces those fields of its snapshot that were not used.

    Units: ``seconds`` that the handler took.
    """

    run: ClaimedRun
    result: Mapping[str, Any]
    used: Mapping[str, Any] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that did not work out; a permanent one is not tried again, another one after ``retry_in``."""

    run: ClaimedRun
    error: Exception
    is_permanent: bool
    retry_in: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run of several steps is."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as stored, for people and programs to look at."""

    run_id: RunId
    job_type: str
    job_id: int | None
    user_id: int | None
    status: RunStatus
    scheduled_for: datetime
    enqueued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    max_attempts: int
    worker_id: str | None
    snapshot: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    error: str | None
    priority: int
    available_at: datetime
    cancel_requested: bool
    deadline_at: datetime | None
    error_details: Mapping[str, Any] | None
    attempts: Sequence[Mapping[str, Any]]
    retry_of: RunId | None
    progress: Progress | None = None


class RunSort(StrEnum):
    """What runs may be sorted by; the largest or newest comes first."""

    SCHEDULED_FOR = "scheduled_for"
    ENQUEUED_AT = "enqueued_at"
    STARTED_AT = "started_at"
    FINISHED_AT = "finished_at"
    DURATION = "duration"
    ATTEMPT = "attempt"
    PRIORITY = "priority"
    JOB_TYPE = "job_type"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; None means any. ``since`` and ``until`` bound scheduled_for, both included."""

    user_id: int
    statuses: Sequence[RunStatus] = ()
    job_id: int | None = None
    job_type: str | None = None
    limit: int = 50
    since: datetime | None = None
    until: datetime | None = None
    sort: RunSort = RunSort.SCHEDULED_FOR
