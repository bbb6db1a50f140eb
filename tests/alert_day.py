"""A worker that evaluates alerts in simulated time; its venue publishes late and hangs, its runs come back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil

from atf.alerts.evaluator import AlertEvaluator
from atf.errors import NotFound
from atf.jobs.run import ClaimedBatch, ClaimedRun, Failure, JobType, WorkerId
from atf.market.bars import Bars, Series, Timeframe
from atf.market.provider import ProviderTraits
from atf.testing.market import open_market
from tests.unit.alerts.test_evaluator import FakeStore, Kept

EPOCH = datetime(2027, 3, 1, tzinfo=UTC)
"""The market time at which simulated time begins, a Monday."""


def seconds_now() -> float:
    return asyncio.get_running_loop().time()


def market_time() -> datetime:
    return EPOCH + timedelta(seconds=seconds_now())


class SimulatedClock:
    """Market time is simulated time."""

    is_replay = False

    async def now(self) -> datetime:
        return market_time()

    async def step(self) -> bool:
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        return instant


@dataclass
class Venue:
    """Has each bar from a moment on; ``published`` says in simulated seconds when, at its close if it does not.

    An answer takes ``latency`` seconds, of a symbol of ``hangs_until`` not less than until then.
    """

    bars: Mapping[Series, Bars]
    latency: float = 0.0
    hangs_until: Mapping[str, float] = field(default_factory=dict)
    published: Mapping[tuple[str, datetime], float] = field(default_factory=dict)
    traits: ProviderTraits = field(default_factory=ProviderTraits)
    name: str = "venue"

    def __post_init__(self) -> None:
        self.asked: list[tuple[str, float]] = []

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        self.asked.append((series.symbol, seconds_now()))
        await asyncio.sleep(max(self.latency, self.hangs_until.get(series.symbol, 0.0) - seconds_now()))
        if series not in self.bars:
            raise NotFound(f"no {series}")
        bars = self.bars[series].closed_at(market_time(), series.timeframe)
        found = Bars.empty()
        for place in range(len(bars)):
            if seconds_now() >= self.published.get((series.symbol, bars.time_at(place)), 0.0):
                found = found.followed_by(bars[place : place + 1])
        return found.closed_at(until, series.timeframe).since(since).last(count)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        return Series(symbol, timeframe) in self.bars

    async def symbols(self) -> Sequence[str]:
        return [series.symbol for series in self.bars]


class Waiting:
    """Runs with the second from which they may be claimed, by id; with a stager pauses end when it comes by."""

    def __init__(self, *, is_staged: bool) -> None:
        self.runs: dict[int, tuple[float, ClaimedRun]] = {}
        self.claims = 0
        self.failures: list[Failure] = []
        self._is_staged = is_staged

    def add(self, at: float, *runs: ClaimedRun) -> None:
        self.runs |= {run.key.id: (at, run) for run in runs}

    def next_at(self) -> float:
        return min(at for at, _ in self.runs.values())

    def claim(self, most: int) -> tuple[ClaimedRun, ...]:
        due = [run for at, run in self.runs.values() if at <= seconds_now()][:most]
        for run in due:
            del self.runs[run.key.id]
        self.claims += len(due)
        return tuple(due)

    async def put_back(self, worker_id: WorkerId, runs: Sequence[ClaimedRun], delay: timedelta) -> None:
        at = seconds_now() + delay.total_seconds()
        self.add(ceil(at) if self._is_staged and delay else at, *runs)

    async def fail(self, worker_id: WorkerId, failures: Sequence[Failure]) -> None:
        self.failures += failures


class Day:
    """Alerts, a venue and one worker. ``ended_at`` has the simulated second at which each run has ended."""

    def __init__(
        self, alerts: Sequence[Kept], venue: Venue, *, batch_size: int = 5_000, is_staged: bool = True
    ) -> None:
        loop = asyncio.get_running_loop()
        self.store = FakeStore(*alerts)
        self.queue = Waiting(is_staged=is_staged)
        self.ended_at: dict[int, float] = {}
        self.triggered_at: dict[tuple[int, datetime], float] = {}
        self._batch_size = batch_size
        self._data = open_market(venue, monotonic=loop.time)
        self._evaluator = AlertEvaluator(self.store, self.queue, self._data, SimulatedClock())

    def add(self, at: float, *runs: ClaimedRun) -> None:
        """Let runs become due."""
        self.queue.add(at, *runs)

    async def work(self) -> None:
        """Do batches, one after the other, until no run is left."""
        try:
            while self.queue.runs:
                if batch := self.queue.claim(self._batch_size):
                    await self._do(batch)
                else:
                    await asyncio.sleep(max(0.0, self.queue.next_at() - seconds_now()))
        finally:
            await self._data.close()

    async def _do(self, batch: tuple[ClaimedRun, ...]) -> None:
        decided = len(self.store.done.triggers)
        await self._evaluator.handle(ClaimedBatch(WorkerId("worker"), JobType.ALERT, batch))
        self.store.keep()
        for trigger in self.store.done.triggers[decided:]:
            assert trigger not in self.triggered_at, "decided twice"
            self.triggered_at[trigger] = seconds_now()
        for number in self.store.done.results:
            self.ended_at.setdefault(number, seconds_now())
