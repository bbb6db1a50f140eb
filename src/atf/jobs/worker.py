"""The worker: claims runs in batches, hands them to their handlers, and gives back what it cannot finish."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from atf.errors import AtfError, TemporaryFailure
from atf.jobs.lease import Lease, LeaseLost
from atf.jobs.retry import BackOff
from atf.jobs.run import ClaimedBatch, ClaimedRun, Failure, JobType, WorkerId

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


class Waiter(Protocol):
    """Something that wakes when work may have come."""

    async def wait(self, seconds: float) -> bool:
        """Wait until woken or until the time is over."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much is claimed at once and how long an idle worker sleeps."""

    batch_size: int = 500
    poll: timedelta = timedelta(seconds=1)


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
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._handlers: Mapping[JobType, BatchHandler] = {handler.job_type: handler for handler in handlers}
        self._waiter = waiter
        self._limits = limits or WorkerLimits()
        self._back_off = BackOff(timedelta(seconds=0.2), cap=timedelta(seconds=5))
        self._jitter = jitter

    async def run(self) -> None:
        """Work until cancelled; whatever goes wrong is logged and tried again.

        What a failed round left behind is given back first: a claim whose answer was lost holds runs that
        nobody works on, and a live lease would keep them from being rescued.
        """
        failures = 0
        try:
            while True:
                try:
                    if failures:
                        await self._queue.release_held(await self._lease.acquire())
                    busy = await self._round()
                    failures = 0
                except (AtfError, OSError) as exc:
                    failures += 1
                    _LOGGER.warning("worker round failed, trying again: %s", exc)
                    delay = self._back_off.delay(failures, self._jitter())
                    await asyncio.sleep(delay.total_seconds())
                    continue
                if not busy:
                    await self._waiter.wait(self._limits.poll.total_seconds())
        finally:
            await asyncio.shield(self._hand_back())

    async def _round(self) -> bool:
        worker_id = await self._lease.acquire()
        claimed = await self._queue.claim_runs(worker_id, tuple(self._handlers), self._limits.batch_size)
        for job_type, runs in _by_type(claimed).items():
            batch = ClaimedBatch(worker_id, job_type, tuple(runs))
            await self._lease.guard(asyncio.create_task(self._handle(batch)))
        return bool(claimed)

    async def _handle(self, batch: ClaimedBatch) -> None:
        try:
            await self._handlers[batch.job_type].handle(batch)
        except (LeaseLost, TemporaryFailure):
            raise
        except Exception as exc:
            _LOGGER.exception("a batch of %d %s runs failed", len(batch.runs), batch.job_type)
            failures = [Failure(run, exc, is_permanent=False) for run in batch.runs]
            await self._queue.fail(batch.worker_id, failures, self._back_off.delay(1, self._jitter()))

    async def _hand_back(self) -> None:
        try:
            if not self._lease.is_over:
                await self._queue.release_held(await self._lease.acquire())
        except AtfError as exc:
            _LOGGER.warning("runs could not be handed back, the rescuer will do it: %s", exc)
        await self._lease.release()


def _by_type(runs: Sequence[ClaimedRun]) -> dict[JobType, list[ClaimedRun]]:
    grouped: dict[JobType, list[ClaimedRun]] = {}
    for run in runs:
        grouped.setdefault(run.job_type, []).append(run)
    return grouped
