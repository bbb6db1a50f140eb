"""Isolation: how much later the orders of all others reach the venue while one bot misbehaves.

The same bots trade the same bars in turns of two kinds: in one of them all behave, in the other one bot does
something bad at the first bar. A turn goes on until after that bot was killed and is up again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final

from sqlalchemy import text

from atf.adapters.bot_processes.bot_logs import BotLogs
from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.trading.order import BotId
from atf.trading.strategy_manager import ManagerIntervals, StrategyManager
from benchmarks.bench import Bench
from benchmarks.measure import BenchmarkError, Observation, Source, value_at_most
from benchmarks.misbehaviour import FILE, KINDS, STRATEGY
from benchmarks.server import BenchServer
from benchmarks.trading_floor import EVERY_BAR, TradingFloor, strategy_folder

_EVERY: Final = 0.25
"""Seconds from bar to bar: so many that one bar is done before the next, as bars of minutes are."""
_MOST_BARS: Final = 100
_LONG_HISTORY: Final = 20_000
_INTERVALS: Final = ManagerIntervals(heartbeat=timedelta(seconds=2.2), restart=timedelta(seconds=0.1))
"""Who failed is up again, and is forgiven, soon enough to fail again."""
_MOST_FAILURES: Final = 1
"""Of a bot that is to fail once more: the fourth failure in a row would be its last."""
_PATIENCE: Final = timedelta(seconds=60)
_GOAL: Final = value_at_most(50)
_FAILURES: Final = text("SELECT max(error_count) FROM trading_bots")


async def benchmark(bench: Bench) -> None:
    """Measure each kind of misbehaviour against the same bots while nobody misbehaves."""
    neighbours, bars = bench.options.size or bench.choose(10, 2), bench.choose(8, 3)
    turns = bench.choose(5, 1)
    async with bench.server() as server, _opened(server, neighbours, bars, is_quick=bench.options.quick) as scene:
        await scene.quiet_turn(bars)  # what is done once is done
        for kind in KINDS:
            await _measure(bench, kind, partial(scene.play, kind, scene.culprit, turns))
        await _measure(bench, "raises_with_history", partial(scene.play, "raises", scene.historian, turns))
    bench.notes.append(
        f"{neighbours} neighbours, {turns} turns each way; of each bar the last order counts. bar: median of the "
        "bars; later: median of the worst bar of each turn, less that of the baseline; latest: the worst bar of "
        "all, less that of the baseline"
    )


async def _measure(bench: Bench, name: str, play: Callable[[], Awaitable[Observation]]) -> None:
    rounds = await bench.rounds({name: play}, count=3)
    baseline = Source(name, "bar_before")
    bench.report(f"{name}_bar", "ms", rounds, Source(name, "bar"), baseline=baseline)
    bench.report(f"{name}_later", "ms", rounds, Source(name, "later"), goal=_GOAL)
    bench.report(f"{name}_latest", "ms", rounds, Source(name, "latest"), goal=_GOAL)


@asynccontextmanager
async def _opened(server: BenchServer, neighbours: int, bars: int, *, is_quick: bool) -> AsyncIterator[_Scene]:
    """Start a service with the neighbours and with two bots that can be made to misbehave."""
    files = {"every_bar.py": EVERY_BAR, FILE: STRATEGY}
    async with server.database("isolation") as database, strategy_folder(files) as folder:
        with BotLogs(folder / "logs") as logs:
            floor = TradingFloor(database, folder, logs.say)
            watched = await floor.add_bots(neighbours, "neighbour")
            culprit = await _Culprit.added(floor, "culprit", is_quick=is_quick)
            long = {"history_bars": _LONG_HISTORY}
            historian = await _Culprit.added(floor, "historian", is_quick=is_quick, **long)
            manager = await floor.started(ForkedBots(), _INTERVALS)
            await manager.start_monitoring()
            try:
                yield _Scene(floor, manager, watched, culprit, historian, bars)
            finally:
                await manager.shutdown()


@dataclass(frozen=True, slots=True)
class _Culprit:
    """A bot that misbehaves once when it finds its token."""

    id: BotId
    token: Path

    @classmethod
    async def added(cls, floor: TradingFloor, name: str, *, is_quick: bool, **changes: object) -> _Culprit:
        """Store one; what hangs is killed after some seconds, which a flood of orders needs to be made."""
        token = floor.folder / name
        params = {"token": str(token), "is_quick": is_quick}
        changes["strategy"] = {"name": f"{FILE}:Misbehaving", "params": params}
        changes["limits"] = {"step_seconds": 0.5 if is_quick else 6}
        (bot_id,) = await floor.add_bots(1, name, **changes)
        return cls(bot_id, token)

    def allow(self, kind: str) -> None:
        """Let it misbehave at its next bar."""
        self.token.write_text(kind, "utf-8")

    def require_done(self) -> None:
        """Make sure that it has. Errors: BenchmarkError."""
        if self.token.exists():
            raise BenchmarkError(f"no bot {self.token.read_text('utf-8')}")


@dataclass
class _Scene:
    """Bots that trade at every bar, of which two can be made to misbehave; ``bars``: of a turn, at least."""

    floor: TradingFloor
    manager: StrategyManager
    neighbours: Sequence[BotId]
    culprit: _Culprit
    historian: _Culprit
    bars: int
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def play(self, kind: str, culprit: _Culprit, turns: int) -> Observation:
        """Return milliseconds that bars took with and without misbehaviour, in turns."""
        before, during = list[Sequence[float]](), list[Sequence[float]]()
        for _ in range(turns):
            await self._all_are_well()
            culprit.allow(kind)
            during.append(await self._turn(partial(self._trades_again, culprit.id)))
            culprit.require_done()
            await self._all_are_well()
            before.append(await self.quiet_turn(len(during[-1])))
        return _observation(before, during)

    async def quiet_turn(self, bars: int) -> Sequence[float]:
        """Return for each of so many bars how long it took."""
        return await self._turn(lambda due: len(due) >= bars)

    async def _turn(self, is_over: Callable[[Sequence[float]], bool]) -> Sequence[float]:
        """Return for each bar how many milliseconds after it was due the last of all orders came.

        Bars are due at fixed times: a service that is late for one cannot hide it. ``is_over`` is asked with when
        the bars so far were due.
        """
        arrivals = self.floor.venue.arrivals
        arrivals.clear()
        at, due = time.perf_counter(), list[float]()
        while not is_over(due) and len(due) < _MOST_BARS:
            due.append(at)
            self.floor.feed.push(next(self.numbers))
            at += _EVERY
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            while any(len(arrivals[one]) < len(due) for one in self.neighbours):  # noqa: ASYNC110 - see InstantVenue
                await asyncio.sleep(0.01)
        came = zip(*(arrivals[one] for one in self.neighbours), strict=True)
        return [(max(orders) - at) * 1000 for orders, at in zip(came, due, strict=True)]

    def _trades_again(self, culprit: BotId, due: Sequence[float]) -> bool:
        """Whether a bot has had time to misbehave, has nothing left to do and answers its bars."""
        orders, subscription = self.floor.venue.arrivals[culprit], self.floor.feed.subscriptions.get(culprit)
        is_idle = subscription is not None and subscription.queue.empty()
        return len(due) >= self.bars and is_idle and bool(orders) and orders[-1] > due[-1]

    async def _all_are_well(self) -> None:
        """Wait until all bots run and may fail again."""
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            while not await self._is_well():  # noqa: ASYNC110 - the service tells nobody
                await asyncio.sleep(0.1)

    async def _is_well(self) -> bool:
        if self.manager.running < self.manager.wanted:
            return False
        async with self.floor.database.transaction() as connection:
            failures: int = (await connection.execute(_FAILURES)).scalar_one()
        return failures <= _MOST_FAILURES


def _observation(before: Sequence[Sequence[float]], during: Sequence[Sequence[float]]) -> Observation:
    """Compare like with like: the median bar, the median turn's worst bar, the worst bar of all. Pure."""
    median_bar = [median(bar for turn in turns for bar in turn) for turns in (before, during)]
    worst = [[max(turn) for turn in turns] for turns in (before, during)]
    return {
        "bar_before": median_bar[0],
        "bar": median_bar[1],
        "later": max(0.0, median(worst[1]) - median(worst[0])),
        "latest": max(0.0, max(worst[1]) - max(worst[0])),
    }
