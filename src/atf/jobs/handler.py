"""What does the work of a run: the three kinds of handlers, and what each is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from atf.jobs.run import ClaimedBatch, ClaimedRun, RunId


@dataclass(frozen=True, slots=True)
class Job:
    """One run as its handler sees it. ``attempt`` is above 1 if an earlier try may have had effects."""

    run_id: RunId
    job_type: str
    job_id: int | None
    user_id: int | None
    scheduled_for: datetime
    attempt: int
    name: str
    target: str
    task_params: Mapping[str, Any]
    max_runtime: timedelta

    @classmethod
    def of(cls, run: ClaimedRun, max_runtime: timedelta) -> Job:
        """Return the job of a claimed run, from the snapshot that was frozen when it was stored."""
        snapshot = run.snapshot
        return cls(
            run_id=run.run_id,
            job_type=run.job_type,
            job_id=run.job_id,
            user_id=run.user_id,
            scheduled_for=run.key.scheduled_for,
            attempt=run.attempt,
            name=snapshot.get("name", ""),
            target=snapshot.get("target", ""),
            task_params=snapshot.get("task_params", {}),
            max_runtime=max_runtime,
        )


class RunHandler(Protocol):
    """Does one run after the other inside the worker's event loop: for work that mostly waits.

    It must not block the loop; what computes belongs into a ``HeavyHandler``.
    """

    job_type: str

    async def handle(self, job: Job) -> Mapping[str, Any]:
        """Do the work and return the result, a JSON object.

        Errors: TemporaryFailure to be tried again after the back-off (or ``retry_after_seconds``);
                PermanentFailure or InvalidInput to give up at once; anything else is tried again.
        """
        ...


class HeavyHandler(Protocol):
    """Computes in a child process of its own, which may be killed: ``compute`` names what runs there.

    ``compute`` is "package.module:function", a function from one JSON object to another. It gets what
    ``prepare`` returns, and nothing else of the worker: no database, no secrets, no open files.
    """

    job_type: str
    compute: str

    async def prepare(self, job: Job) -> Mapping[str, Any]:
        """Return the input of the computation; runs in the worker, so it may read the database."""
        ...


class BatchHandler(Protocol):
    """Does the runs of one type together and brings each of them to an end by itself, or puts it back."""

    job_type: str

    async def handle(self, batch: ClaimedBatch) -> None:
        """Do a batch.

        Errors: TemporaryFailure to try all of it again; anything else fails what is still held.
        """
        ...
