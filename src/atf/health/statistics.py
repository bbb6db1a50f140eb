"""The numbers of `/health` and `/stats`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class QueueOfType:
    """The runs of one job type. Units: seconds since the oldest one that waits might have begun; 0 if none.

    ``slots``: how many the living workers do at the same time.
    """

    waiting: int = 0
    delayed: int = 0
    running: int = 0
    oldest_seconds: float = 0.0
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong in the last 24 hours, and the dead letters that nobody has requeued or dropped."""

    misfires: int = 0
    missed_runs: int = 0
    dead_letters: int = 0
    lost_workers: int = 0
    rescued_runs: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Schedules, the queue, and what ended in the last 24 hours.

    Units: durations in seconds; 0 if nothing ended. ``is_estimated``: there was so much that it was sampled.
    ``avg_wait``: from the instant a run might have begun to the instant it was claimed.
    """

    total_schedules: int
    enabled_schedules: int
    queue: Mapping[str, QueueOfType]
    completed_24h: int
    failed_24h: int
    avg_duration: float
    max_duration: float
    avg_wait: float = 0.0
    common_errors: Sequence[tuple[str, int]] = ()
    is_estimated: bool = False
    trouble: Trouble = Trouble()
    workers: int = 0

    @property
    def pending_runs(self) -> int:
        """Runs that wait for a worker or for their time."""
        return sum(one.waiting + one.delayed for one in self.queue.values())

    @property
    def runs_24h(self) -> int:
        """Runs that came to an end."""
        return self.completed_24h + self.failed_24h

    @property
    def success_rate(self) -> float:
        """The part of the runs that went well, 0 to 1; 1 if there were none."""
        return self.completed_24h / self.runs_24h if self.runs_24h else 1.0


@dataclass(frozen=True, slots=True)
class DatabaseProbe:
    """What a look at the database found."""

    has_alert_worker: bool
    is_job_store_readable: bool


class HealthStore(Protocol):
    """What health reads from the database."""

    async def probe(self) -> DatabaseProbe:
        """Ask the database a few cheap questions. Errors: DatabaseUnavailable."""
        ...

    async def statistics(self) -> Statistics:
        """Count. Errors: DatabaseUnavailable."""
        ...
