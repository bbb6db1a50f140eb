"""The run table as workers see it. Every write is fenced by worker and attempt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from atf.jobs.run import ClaimedRun, Completion, Failure, WorkerId


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many runs of a type a worker has room for, and how long each may take unless its schedule says so.

    ``is_batch``: they are done together, so neither a schedule's ``max_instances`` nor a user's limit counts.
    """

    job_type: str
    limit: int
    max_runtime: timedelta
    is_batch: bool = False


@dataclass(frozen=True, slots=True)
class PutBack:
    """A run that goes back to PENDING without having cost an attempt."""

    run: ClaimedRun
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A run that was stopped because somebody asked for it."""

    run: ClaimedRun


Outcome = Completion | Failure | PutBack | Cancelled


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of some runs of one worker, to be written down together."""

    completions: Sequence[Completion] = field(default=())
    failures: Sequence[Failure] = field(default=())
    put_back: Sequence[PutBack] = field(default=())
    cancelled: Sequence[Cancelled] = field(default=())

    def __len__(self) -> int:
        return len(self.completions) + len(self.failures) + len(self.put_back) + len(self.cancelled)

    @property
    def runs(self) -> Sequence[ClaimedRun]:
        """The runs that they are of."""
        return [
            *(one.run for one in self.completions),
            *(one.run for one in self.failures),
            *(one.run for one in self.put_back),
            *(one.run for one in self.cancelled),
        ]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Outcomes:
        """Sort outcomes by kind."""
        return cls(
            [one for one in outcomes if isinstance(one, Completion)],
            [one for one in outcomes if isinstance(one, Failure)],
            [one for one in outcomes if isinstance(one, PutBack)],
            [one for one in outcomes if isinstance(one, Cancelled)],
        )


class RunQueue(Protocol):
    """What a worker asks of the run table."""

    async def claim_runs(self, worker_id: WorkerId, wanted: Sequence[Wanted]) -> Sequence[ClaimedRun]:
        """Take due runs, atomically, if the worker's lease is alive; none if nothing is due."""
        ...

    async def finish(self, worker_id: WorkerId, outcomes: Outcomes) -> frozenset[int]:
        """Write outcomes down in one transaction; return the ids of those runs that the worker still held.

        What was taken away meanwhile is left alone. Errors: UnstorableData, DatabaseUnavailable.
        """
        ...

    async def hand_back(self, worker_id: WorkerId, *, keep: Collection[int]) -> int:
        """Return what this worker holds, but for the runs ``keep``, to PENDING with one more attempt.

        It is not the runs' fault, so it does not bring them nearer to their last attempt.
        """
        ...

    async def cancel_requests(self, worker_id: WorkerId) -> frozenset[int]:
        """Return the ids of the runs of this worker that somebody wants to be cancelled."""
        ...
