"""The outcome writer: writes down what became of runs, many in one transaction, until the database has them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final

from atf.errors import AtfError, TemporaryFailure, UnstorableData
from atf.jobs.queue import Outcome, Outcomes, RunQueue
from atf.jobs.retry import BackOff
from atf.jobs.run import Completion, Failure, WorkerId

_LOGGER = logging.getLogger(__name__)
_MOST_AT_ONCE: Final = 1000
_BACK_OFF: Final = BackOff(timedelta(seconds=0.1), cap=timedelta(seconds=2))

Written = Callable[[Sequence[Outcome], frozenset[int]], None]
"""Told of outcomes that are written down, and which of their runs were still the worker's."""


class OutcomeWriter:
    """Takes outcomes at any time; one transaction at a time takes all that have come meanwhile.

    An idle worker's outcome is written at once, a busy worker's in large batches, without any timer.
    """

    def __init__(self, queue: RunQueue, written: Written, *, jitter: Callable[[], float] = random.random) -> None:
        self._queue = queue
        self._written = written
        self._jitter = jitter
        self._waiting: list[tuple[WorkerId, Outcome]] = []
        self._has_come = asyncio.Event()

    def put(self, worker_id: WorkerId, outcome: Outcome) -> None:
        """Have an outcome written."""
        self._waiting.append((worker_id, outcome))
        self._has_come.set()

    async def run(self) -> None:
        """Write until cancelled. What the database does not take now is tried again."""
        while True:
            await self._has_come.wait()
            self._has_come.clear()
            while self._waiting:
                taken, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
                for worker_id, ours in groupby(taken, key=lambda one: one[0]):
                    await self._write(worker_id, [outcome for _, outcome in ours])

    async def _write(self, worker_id: WorkerId, outcomes: Sequence[Outcome]) -> None:
        """Write all, or halve until the one that the database refuses stands alone, and fails alone."""
        try:
            held = await self._write_some_day(worker_id, outcomes)
        except AtfError as exc:
            if len(outcomes) > 1:
                middle = len(outcomes) // 2
                await self._write(worker_id, outcomes[:middle])
                await self._write(worker_id, outcomes[middle:])
            else:
                await self._give_up(worker_id, outcomes[0], exc)
            return
        self._written(outcomes, held)

    async def _give_up(self, worker_id: WorkerId, outcome: Outcome, error: AtfError) -> None:
        """A result that cannot be stored fails its run; a failure that cannot be is left to the rescuer."""
        if isinstance(outcome, Completion) and isinstance(error, UnstorableData):
            await self._write(worker_id, [Failure(outcome.run, error, is_permanent=True)])
            return
        _LOGGER.error("%s: its end could not be written down: %s", outcome.run.name, error)
        self._written([outcome], frozenset())

    async def _write_some_day(self, worker_id: WorkerId, outcomes: Sequence[Outcome]) -> frozenset[int]:
        failures = 0
        while True:
            try:
                return await self._queue.finish(worker_id, Outcomes.of(outcomes))
            except (TemporaryFailure, OSError) as exc:
                failures += 1
                if failures == 1:
                    _LOGGER.warning("the ends of %d runs are not written yet: %s", len(outcomes), exc)
                await asyncio.sleep(_BACK_OFF.delay(failures, self._jitter()).total_seconds())
