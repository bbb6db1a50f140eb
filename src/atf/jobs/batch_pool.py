"""BatchPool: runs that are done together, such as those of alerts, which share bars and one commit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from atf.errors import TemporaryFailure
from atf.jobs.handler import BatchHandler
from atf.jobs.pool import PoolSeams, cancel_all, error_of, is_being_cancelled
from atf.jobs.queue import Outcome, PutBack, Wanted
from atf.jobs.retry import BackOff, pause_before_retry
from atf.jobs.run import ClaimedBatch, ClaimedRun, Failure, WorkerId

_LOGGER = logging.getLogger(__name__)
BATCHES_AT_ONCE: Final = 2
"""While one batch waits for the database, the next one is claimed and computed."""


class BatchPool:
    """Runs that are done together, two batches at a time; the handler writes down how they end by itself."""

    def __init__(self, handler: BatchHandler, seams: PoolSeams) -> None:
        self._handler = handler
        self._definition = seams.definition
        self._seams = seams
        self._metrics = seams.metrics
        self._in_hand: dict[int, ClaimedRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0

    @property
    def wanted(self) -> Wanted | None:
        """A whole batch, unless as many are in work as may be."""
        if len(self._tasks) >= BATCHES_AT_ONCE:
            return None
        return Wanted(self._definition.name, self._seams.most, self._definition.limits.max_runtime, is_batch=True)

    @property
    def in_hand(self) -> Iterable[int]:
        """The ids of the batches' runs."""
        return self._in_hand

    def accept(self, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> None:
        """Begin a batch."""
        self._metrics.claimed += len(runs)
        for run in runs:
            self._metrics.waiting.observe(run.waited.total_seconds())
        self._in_hand |= {run.key.id: run for run in runs}
        batch = ClaimedBatch(worker_id, self._definition.name, tuple(runs))
        self._tasks.add(asyncio.create_task(self._do(batch), name=f"{self._definition.name}-batch"))

    async def _do(self, batch: ClaimedBatch) -> None:
        began = time.monotonic()
        self._metrics.busy += 1
        try:
            outcomes = await self._left_over(batch)
        finally:
            self._metrics.busy -= 1
            is_present = self._leave()
        self._metrics.running.observe(time.monotonic() - began)
        if not is_present:  # it was given up and did not stop; other batches may be at work
            return
        for run in batch.runs:
            self.forget(run)
        self._in_hand |= {outcome.run.key.id: outcome.run for outcome in outcomes}
        self._metrics.outcomes["handled"] += len(batch.runs) - len(outcomes)
        for outcome in outcomes:
            self._seams.report(batch.worker_id, outcome)
        self._seams.has_room()

    def _leave(self) -> bool:
        """Note that the present batch has ended; return False if it was given up before."""
        task = asyncio.current_task()
        is_present = task in self._tasks
        self._tasks = {other for other in self._tasks if other is not task}
        return is_present

    async def _left_over(self, batch: ClaimedBatch) -> list[Outcome]:
        """Do the batch; return what is to become of it if the handler could not see to that."""
        limit = self._definition.limits.max_runtime.total_seconds()
        try:
            async with asyncio.timeout(limit) as timer:
                await self._handler.handle(batch)
        except TemporaryFailure as exc:
            self._failures += 1
            pause = BackOff(timedelta(seconds=0.2), timedelta(seconds=5)).delay(
                self._failures, self._seams.jitter()
            )
            _LOGGER.warning("a batch of %d %s runs is put back: %s", len(batch.runs), batch.job_type, exc)
            return [PutBack(run, pause) for run in batch.runs]
        except TimeoutError as exc:
            told = TimeoutError(f"took longer than {limit:g} s") if timer.expired() else exc
            return self._failed(batch, told)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and is_being_cancelled():
                raise
            return self._failed(batch, exc)
        self._failures = 0
        return []

    def _failed(self, batch: ClaimedBatch, error: BaseException) -> list[Outcome]:
        error = error_of(error)
        _LOGGER.error("a batch of %d %s runs failed", len(batch.runs), batch.job_type, exc_info=error)
        return [self._failure(run, error) for run in batch.runs]

    def _failure(self, run: ClaimedRun, error: Exception) -> Failure:
        first = self._definition.limits.retry_delay
        return Failure(
            run,
            error,
            is_permanent=False,
            retry_in=pause_before_retry(error, run.attempt, first, self._seams.jitter()),
        )

    def cancel(self, ids: frozenset[int]) -> None:
        """A batch takes seconds and its runs are done together: it is not interrupted for one of them."""

    def watch(self) -> None:
        """The time limit of the batch is enough."""

    def forget(self, run: ClaimedRun) -> None:
        """Let go of a run that is written down, unless it was claimed anew meanwhile."""
        if self._in_hand.get(run.key.id) is run:
            del self._in_hand[run.key.id]

    def return_waiting(self) -> None:
        """Nothing waits: a batch is begun when it comes."""

    async def abandon(self) -> None:
        """Stop the batches."""
        tasks, self._tasks = self._tasks, set()
        self._in_hand.clear()
        await cancel_all(tasks)
