"""Where the time of a batch goes, seen from the seams that AlertEvaluator has: its store, data and queue.

What lies between two seams is the evaluator's own: compiling after the load, evaluating after the bars.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final
from weakref import WeakKeyDictionary

from atf.alerts.evaluator import AlertCommit, AlertStore
from atf.alerts.outcome import StoredAlert, StoredStates
from atf.jobs.queue import RunQueue, Wanted
from atf.jobs.run import ClaimedRun, WorkerId
from atf.market.bars import Series
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.fetched_bars import FetchedBars
from atf.market.provider_lane import ProviderLane
from atf.storage.bars_repository import PostgresBarStore
from atf.testing.market import OneCalendar, ScriptedProvider
from benchmarks.driving import Count, CountingQueue
from benchmarks.measure import BenchmarkError

STAGES: Final = ("claim", "load", "compile", "bars", "evaluate", "commit", "other")


class StageWatch:
    """Adds the time since the last mark of the same task to the stage that has just ended.

    Two batches are in work at a time, each in a task of its own: the stages add up to more than the whole.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._since: WeakKeyDictionary[asyncio.Task[object], float] = WeakKeyDictionary()

    def ended(self, stage: str) -> None:
        """Book the time since the last mark."""
        task = asyncio.current_task()
        if task is None:
            raise BenchmarkError("stages belong to tasks")
        now = time.perf_counter()
        self.seconds[stage] += now - self._since.get(task, now)
        self._since[task] = now


class WatchedQueue(CountingQueue):
    """A run queue whose claims are booked."""

    def __init__(self, inner: RunQueue, count: Count, watch: StageWatch) -> None:
        super().__init__(inner, count)
        self._watch = watch

    async def claim_runs(self, worker_id: WorkerId, wanted: Sequence[Wanted]) -> Sequence[ClaimedRun]:
        """Claim, and book it."""
        self._watch.ended("other")
        runs = await super().claim_runs(worker_id, wanted)
        self._watch.ended("claim")
        return runs


class WatchedStore:
    """An alert store whose loads and commits are booked."""

    def __init__(self, inner: AlertStore, watch: StageWatch) -> None:
        self._inner = inner
        self._watch = watch

    async def states(self, schedule_ids: Sequence[int]) -> StoredStates:
        """Load, and book it."""
        self._watch.ended("other")
        states = await self._inner.states(schedule_ids)
        self._watch.ended("load")
        return states

    async def configurations(self, schedule_ids: Sequence[int]) -> Sequence[StoredAlert]:
        """Load, and book it."""
        self._watch.ended("compile")
        alerts = await self._inner.configurations(schedule_ids)
        self._watch.ended("load")
        return alerts

    @asynccontextmanager
    async def commit(self) -> AsyncIterator[AlertCommit]:
        """Commit, and book it; what went before was the evaluation."""
        self._watch.ended("evaluate")
        async with self._inner.commit() as commit:
            yield commit
        self._watch.ended("commit")


class WatchedData(DataManager):
    """A data manager whose reads are booked; what went before was compiling.

    Its memory is empty, all bars are in the store, and its provider knows none besides.
    """

    def __init__(self, store: PostgresBarStore, watch: StageWatch) -> None:
        super().__init__(Chains([ProviderLane(ScriptedProvider())]), store, DueBars(OneCalendar()))
        self._watch = watch

    async def closed_bars_of(
        self, wanted: Mapping[Series, int], *, until: datetime, within: timedelta | None = None
    ) -> FetchedBars:
        """Fetch, and book it."""
        self._watch.ended("compile")
        fetched = await super().closed_bars_of(wanted, until=until, within=within)
        self._watch.ended("bars")
        return fetched
