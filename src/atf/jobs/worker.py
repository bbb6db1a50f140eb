"""The worker: claims runs in batches, hands them to their handlers, and gives back what it cannot finish."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from atf.errors import TemporaryFailure
from atf.jobs.claim_loop import ClaimLoop, Waiter
from atf.jobs.lease import Lease, LeaseLost
from atf.jobs.retry import BackOff
from atf.jobs.run import ClaimedBatch, ClaimedRun, Failure, JobType, WorkerId
from atf.lifecycle import Progress

_LOGGER = logging.getLogger(__name__)


class RunQueue(Protocol):
    """The run table as a worker sees it. Every write is fenced by worker and attempt."""

    async def claim_runs(self, worker_id: WorkerId, types: Sequence[JobType], limit: int) -> Sequence[ClaimedRun]:
        """Take due runs, atomically, if the worker's lease is alive; none if nothing is due."""
        ...

    async def put_back(self, worker_id: WorkerId, runs: Sequence[ClaimedRun], delay: timedelta) -> None:
        """Return runs to PENDING without costing an attempt."""
        ...

    async def fail(self, worker_id: WorkerId, failures: Sequence[Failure], delay: timedelta) -> None:
        """End runs as FAILED, or return them to PENDING with one more attempt if that may help."""
        ...

    async def release_held(self, worker_id: WorkerId) -> int:
        """Return everything this worker still holds to PENDING with one more attempt."""
        ...


class BatchHandler(Protocol):
    """Does the runs of one type and brings each of them to an end, or puts it back."""

    job_type: JobType

    async def handle(self, batch: ClaimedBatch) -> None:
        """Do a batch.

        Errors: TemporaryFailure to try all of it again; anything else fails what is still held.
        """
        ...


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much is claimed at once, how long an idle worker sleeps, how much is done at the same time.

    ``max_workers`` handlers run at the same time, each with the batch of its type; ``timeouts`` says how long a
    batch of a type may take, and a type that is not in it may take as long as the lease lives.
    """

    batch_size: int = 500
    poll: timedelta = timedelta(seconds=1)
    max_workers: int = 10
    timeouts: Mapping[JobType, timedelta] = field(default_factory=dict)


class Worker:
    """One claimer and its handlers; several workers share one queue on any number of machines."""

    def __init__(
        self,
        queue: RunQueue,
        lease: Lease,
        handlers: Sequence[BatchHandler],
        waiter: Waiter,
        *,
        limits: WorkerLimits | None = None,
        progress: Progress | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._handlers: Mapping[JobType, BatchHandler] = {handler.job_type: handler for handler in handlers}
        self._limits = limits or WorkerLimits()
        self._at_once = asyncio.Semaphore(self._limits.max_workers)
        self._back_off = BackOff(timedelta(seconds=0.2), cap=timedelta(seconds=5))
        self._loop = ClaimLoop(queue, lease, waiter, poll=self._limits.poll, progress=progress, jitter=jitter)
        self._jitter = jitter

    async def run(self) -> None:
        """Work until cancelled; whatever goes wrong is logged and tried again."""
        await self._loop.run(self._round, failure="worker round failed")

    async def _round(self) -> bool:
        worker_id = await self._lease.acquire()
        claimed = await self._queue.claim_runs(worker_id, tuple(self._handlers), self._limits.batch_size)
        batches = [ClaimedBatch(worker_id, kind, tuple(runs)) for kind, runs in _by_type(claimed).items()]
        if batches:
            await self._lease.guard(asyncio.create_task(self._handle_all(batches)))
        return bool(claimed)

    async def _handle_all(self, batches: Sequence[ClaimedBatch]) -> None:
        """Do all batches; one that must be tried again does not interrupt the others."""
        ended = await asyncio.gather(*map(self._handle_in_turn, batches), return_exceptions=True)
        failed = [error for error in ended if error is not None]
        if failed:
            raise failed[0]

    async def _handle_in_turn(self, batch: ClaimedBatch) -> None:
        async with self._at_once:
            await self._handle(batch)

    async def _handle(self, batch: ClaimedBatch) -> None:
        try:
            await self._handle_in_time(batch)
        except (LeaseLost, TemporaryFailure):
            raise
        except Exception as exc:
            _LOGGER.exception("a batch of %d %s runs failed", len(batch.runs), batch.job_type)
            failures = [Failure(run, exc, is_permanent=False) for run in batch.runs]
            await self._queue.fail(batch.worker_id, failures, self._back_off.delay(1, self._jitter()))

    async def _handle_in_time(self, batch: ClaimedBatch) -> None:
        """Do a batch; what took too long is cancelled and fails, what it has completed stays so."""
        limit = self._limits.timeouts.get(batch.job_type)
        try:
            async with asyncio.timeout(None if limit is None else limit.total_seconds()) as timer:
                await self._handlers[batch.job_type].handle(batch)
        except TimeoutError as exc:
            if limit is None or not timer.expired():
                raise
            raise TimeoutError(f"took longer than {limit.total_seconds():g} s") from exc


def _by_type(runs: Sequence[ClaimedRun]) -> dict[JobType, list[ClaimedRun]]:
    grouped: dict[JobType, list[ClaimedRun]] = {}
    for run in runs:
        grouped.setdefault(run.job_type, []).append(run)
    return grouped
