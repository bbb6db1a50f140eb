"""The worker: claims runs for its pools, writes down how they end, and gives back what it cannot finish.

One claimer for all pools, one writer for all outcomes, one lease for all runs. Several workers share a queue on
any number of machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol, cast

from atf.errors import AtfError
from atf.jobs.batch_pool import BATCHES_AT_ONCE, BatchPool
from atf.jobs.claim_loop import ClaimLoop, Waiter
from atf.jobs.handler import BatchHandler, RunHandler
from atf.jobs.job_type import JobTypeDefinition
from atf.jobs.lease import Lease
from atf.jobs.outcome_writer import OutcomeWriter
from atf.jobs.pool import Pool, PoolSeams
from atf.jobs.queue import Cancelled, Outcome, PutBack, RunQueue
from atf.jobs.run import ClaimedRun, Completion, Failure, WorkerId
from atf.jobs.run_log import log_written
from atf.jobs.run_metrics import RunMetrics
from atf.jobs.run_pool import RunPool
from atf.lifecycle import Progress

_LOGGER = logging.getLogger(__name__)
_WATCH_SECONDS: Final = 1.0
_COMPARE_SECONDS: Final = 30.0
_OUTCOME_NAMES: Final[Mapping[type, str]] = {
    Completion: "completed",
    Failure: "failed",
    PutBack: "put_back",
    Cancelled: "cancelled",
}


class Bell(Waiter, Protocol):
    """Something that wakes when work may have come, and that can be rung."""

    def wake(self) -> None:
        """Wake whoever waits, or the next one that does."""
        ...


@dataclass(frozen=True, slots=True)
class Duty:
    """A job type and what does it."""

    definition: JobTypeDefinition
    handler: RunHandler | BatchHandler
    is_batch: bool = False


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much is claimed at once, how long an idle worker sleeps, how long running runs may go on at the end."""

    batch_size: int = 500
    poll: timedelta = timedelta(seconds=1)
    drain: timedelta = timedelta(seconds=25)


class Worker:
    """One claimer and its pools."""

    def __init__(
        self,
        queue: RunQueue,
        lease: Lease,
        duties: Sequence[Duty],
        bell: Bell,
        *,
        limits: WorkerLimits | None = None,
        progress: Progress | None = None,
        metrics: RunMetrics | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._limits = limits or WorkerLimits()
        self._metrics = metrics or RunMetrics()
        self._jitter = jitter
        self._bell = bell
        self._writer = OutcomeWriter(queue, self._written, jitter=jitter)
        self._pools: Mapping[str, Pool] = {duty.definition.name: self._pool(duty) for duty in duties}
        self._worker_id: WorkerId | None = None
        self._compared_at = time.monotonic()
        self._loop = ClaimLoop(
            self,
            lease,
            bell,
            poll=self._limits.poll,
            progress=progress,
            jitter=jitter,
            drain=self._drain,
        )

    def _pool(self, duty: Duty) -> Pool:
        definition = duty.definition
        slots = BATCHES_AT_ONCE if duty.is_batch else definition.limits.concurrency
        seams = PoolSeams(
            definition,
            self._writer.put,
            self._metrics.of(definition.name, slots=slots),
            self._bell.wake,
            self._limits.batch_size,
            self._jitter,
        )
        if duty.is_batch:
            return BatchPool(cast("BatchHandler", duty.handler), seams)
        return RunPool(cast("RunHandler", duty.handler), seams)

    async def run(self) -> None:
        """Work until cancelled; whatever goes wrong is logged and tried again."""
        background = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("outcome-writer", self._writer.run()),
                ("run-watch", self._watch()),
                ("cancel-watch", self._watch_cancelled()),
            )
        ]
        try:
            await self._loop.run(self._round, failure="worker round failed")
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background)

    async def _round(self) -> bool:
        worker_id = await self._lease.acquire()
        if worker_id != self._worker_id:
            await self._abandon()
            self._worker_id = worker_id
        await self._compare(worker_id)
        wanted = [room for pool in self._pools.values() if (room := pool.wanted) is not None]
        if not wanted:
            return False
        claimed = await self._queue.claim_runs(worker_id, wanted)
        for job_type, runs in _by_type(claimed).items():
            self._pools[job_type].accept(worker_id, runs)
        return bool(claimed)

    async def _compare(self, worker_id: WorkerId) -> None:
        """Now and then give back what only the table holds to be this worker's.

        A claim whose connection broke may take effect long after its failure was seen here, and what it took
        would stay RUNNING as long as the lease lives. Between two claims nothing is on its way.
        """
        if time.monotonic() - self._compared_at < _COMPARE_SECONDS:
            return
        returned = await self.release_held(worker_id)
        self._compared_at = time.monotonic()
        if returned:
            _LOGGER.warning("%d runs of %s that nobody worked on were given back", returned, worker_id)

    def _written(self, outcomes: Sequence[Outcome], held: frozenset[int]) -> None:
        for outcome in outcomes:
            run = outcome.run
            name = _OUTCOME_NAMES[type(outcome)] if run.key.id in held else "refused"
            self._metrics.by_type[run.job_type].outcomes[name] += 1
            self._pools[run.job_type].forget(run)
        log_written(outcomes, held)
        self._bell.wake()

    async def release_held(self, worker_id: WorkerId) -> int:
        """Give back what the table says this worker holds and the worker does not know of."""
        keep = [run_id for pool in self._pools.values() for run_id in pool.in_hand]
        return await self._queue.hand_back(worker_id, keep=keep)

    async def _watch(self) -> None:
        """Every second: stop what must stop. It asks nobody, as the database may not answer just then."""
        while True:
            await asyncio.sleep(min(_WATCH_SECONDS, max(0.05, self._lease.seconds_left)))
            if not self._is_busy:
                continue
            if self._lease.is_over:
                _LOGGER.warning("the lease of %s was not renewed in time: its runs are given up", self._worker_id)
                await self._abandon()
                continue
            for pool in self._pools.values():
                pool.watch()

    async def _watch_cancelled(self) -> None:
        """Every second: ask for runs that somebody wants to be cancelled, and stop them."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if not self._is_busy or self._worker_id is None:
                continue
            with contextlib.suppress(AtfError, OSError):  # asked again a second later
                asked = await self._queue.cancel_requests(self._worker_id)
                for pool in self._pools.values() if asked else ():
                    pool.cancel(asked)

    @property
    def _is_busy(self) -> bool:
        return any(True for pool in self._pools.values() for _ in pool.in_hand)

    async def _drain(self) -> None:
        """Let running runs end, but not longer than the drain time; what has not begun goes back at once."""
        for pool in self._pools.values():
            pool.return_waiting()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain.total_seconds()):
                while self._is_busy and not self._lease.is_over:
                    await self._bell.wait(0.2)
        await self._abandon()

    async def _abandon(self) -> None:
        await asyncio.gather(*(pool.abandon() for pool in self._pools.values()))


def _by_type(runs: Sequence[ClaimedRun]) -> dict[str, list[ClaimedRun]]:
    grouped: dict[str, list[ClaimedRun]] = {}
    for run in runs:
        grouped.setdefault(run.job_type, []).append(run)
    return grouped
