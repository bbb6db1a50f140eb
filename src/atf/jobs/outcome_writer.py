"""The outcome writer: writes down what became of runs, many in one transaction, until the database has them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final

from atf.errors import ConfigurationError, TemporaryFailure, UnstorableData
from atf.jobs.queue import Outcome, Outcomes, RunQueue
from atf.jobs.retry import BackOff
from atf.jobs.run import Failure, WorkerId

_LOGGER = logging.getLogger(__name__)
_MOST_AT_ONCE: Final = 1000
_BACK_OFF: Final = BackOff(timedelta(seconds=0.1), cap=timedelta(seconds=2))
_LONG_PAUSE_SECONDS: Final = 30.0

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
        """Write all, or halve until the one that cannot be written stands alone, and fails alone."""
        try:
            held = await self._write_some_day(worker_id, outcomes)
        except Exception as exc:  # noqa: BLE001 - what one handler returned or raised must not keep others waiting
            if len(outcomes) > 1:
                middle = len(outcomes) // 2
                await self._write(worker_id, outcomes[:middle])
                await self._write(worker_id, outcomes[middle:])
            else:
                await self._write_instead(worker_id, outcomes[0], exc)
            return
        self._written(outcomes, held)

    async def _write_instead(self, worker_id: WorkerId, outcome: Outcome, error: Exception) -> None:
        """Fail the run of an outcome that cannot be stored; if not even that can be, try all of it again later.

        Nobody else would end it: while this worker's lease lives, no rescuer takes the run.
        """
        _LOGGER.error("%s: its end cannot be written down: %s", outcome.run.name, error, exc_info=error)
        told = error if isinstance(error, UnstorableData) else UnstorableData("the run's end cannot be stored")
        instead = Failure(outcome.run, told, is_permanent=True)
        try:
            held = await self._write_some_day(worker_id, [instead])
        except Exception as exc:  # noqa: BLE001 - such as a database that somebody is changing
            _LOGGER.error("%s: not even its failure can be written down: %s", outcome.run.name, exc)
            asyncio.get_running_loop().call_later(_LONG_PAUSE_SECONDS, self.put, worker_id, outcome)
            return
        self._written([instead], held)

    async def _write_some_day(self, worker_id: WorkerId, outcomes: Sequence[Outcome]) -> frozenset[int]:
        """Write as soon as the database takes it. Errors: what says something about these outcomes."""
        failures = 0
        while True:
            try:
                return await self._queue.finish(worker_id, Outcomes.of(outcomes))
            except (TemporaryFailure, ConfigurationError, OSError) as exc:
                failures += 1
                if failures == 1:
                    _LOGGER.warning("the ends of %d runs are not written yet: %s", len(outcomes), exc)
                await asyncio.sleep(_BACK_OFF.delay(failures, self._jitter()).total_seconds())
