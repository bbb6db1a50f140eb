"""Trading: how soon bots are live, and how long a bar takes to become an order at the venue, committed before."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import text

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.bootstrap.notification_client import database_client
from atf.clock import SystemClock
from atf.market.bars import Timeframe
from atf.storage.books_repository import PostgresBooks
from atf.storage.database import Database
from atf.storage.trading_repository import PostgresTradingStore
from atf.trading.bar_feed import BarFeed, ClosedBars, Subscription
from atf.trading.bot_messages import Candle
from atf.trading.crash_marker import CrashMarker
from atf.trading.order import BotId
from atf.trading.service_store import Session
from atf.trading.session_life import boot_id
from atf.trading.strategy_instance import TradingHouse
from atf.trading.strategy_manager import StrategyManager
from benchmarks.bench import Bench
from benchmarks.instant_venue import InstantVenue
from benchmarks.measure import BenchmarkError, Observation, Source, value_at_most
from benchmarks.server import BenchServer

_BEGIN: Final = datetime(2026, 3, 2, tzinfo=UTC)
_HISTORY: Final = 250
_CANDLE: Final[Candle] = (100.0, 101.0, 99.0, 100.0, 10.0)
_STRATEGY: Final = """
import backtrader as bt

class EveryBar(bt.Strategy):
    def __init__(self):
        self.average = bt.indicators.SMA(self.data.close, period=30)
        self.count = 0

    def next(self):
        self.count += 1
        (self.buy if self.count % 2 else self.sell)(size=1)

    def save_state(self):
        return {"count": self.count}

    def load_state(self, state):
        self.count = state["count"]
"""
_NUMBERS: Final = count()


async def benchmark(bench: Bench) -> None:
    """Measure one bot alone, and many at the same instant."""
    many, bars = bench.options.size or bench.choose(100, 3), bench.choose(200, 4)
    async with bench.server() as server:
        rounds = await bench.rounds(
            {
                "one": lambda: _run(server, 1, bars),
                "many": lambda: _run(server, many, bench.choose(30, 3)),
            },
            count=3,
        )
    bench.report("bots_live", "s", rounds, Source("many", "live"), goal=value_at_most(5))
    bench.report("bots_live_again", "s", rounds, Source("many", "again"), goal=value_at_most(10))
    bench.report("order_of_one_p50", "ms", rounds, Source("one", "p50"), goal=value_at_most(8))
    bench.report("order_of_one_p99", "ms", rounds, Source("one", "p99"))
    bench.report("orders_at_once_p50", "ms", rounds, Source("many", "p50"), goal=value_at_most(60))
    bench.report("orders_at_once_p99", "ms", rounds, Source("many", "p99"), goal=value_at_most(150))
    bench.notes.append(f"{many} bots at once; from the bar's arrival to the call of the venue")


class _PushedFeed:
    """Bars that the benchmark hands out."""

    def __init__(self) -> None:
        self.subscriptions: dict[BotId, Subscription] = {}

    async def subscribe(
        self,
        bot_id: BotId,
        symbols: Sequence[str],
        timeframe: Timeframe,
        length: int,
        done_until: datetime | None,
    ) -> Subscription:
        """Return a subscription with made-up history."""
        end = done_until or _BEGIN
        rows = [(end - timedelta(minutes=back), _CANDLE) for back in range(length, -1, -1)]
        made = Subscription(bot_id, symbols, timeframe, {symbols[0]: rows}, end)
        self.subscriptions[bot_id] = made
        return made

    def age(self, subscription: Subscription) -> None:
        """Call nothing late."""

    def unsubscribe(self, bot_id: BotId) -> None:
        """Forget a bot."""
        self.subscriptions.pop(bot_id, None)

    def push(self, open_time: datetime) -> None:
        """Close a bar of all bots."""
        for one in self.subscriptions.values():
            one.queue.put_nowait(ClosedBars(open_time, {one.symbols[0]: _CANDLE}, is_late=False))


async def _run(server: BenchServer, bots: int, bars: int) -> Observation:
    async with server.database(f"trading_{next(_NUMBERS)}") as database, _strategy() as folder:
        await _add_bots(database, bots)
        feed, venue, processes = _PushedFeed(), InstantVenue(), ForkedBots()
        begin = time.perf_counter()
        manager = await _started(database, folder, feed, venue, processes)
        live = time.perf_counter() - begin
        latencies = [one for bar in range(1, bars + 1) for one in await _bar(bots, feed, venue, bar)]
        await manager.abandon()
        await processes.close()
        begin = time.perf_counter()
        manager = await _started(database, folder, feed, venue, ForkedBots())
        again = time.perf_counter() - begin
        if manager.running != bots:
            raise BenchmarkError(f"{manager.running} of {bots} bots run")
        await manager.shutdown()
        await _require_all(database, bots * bars)
        latencies.sort()
        return {
            "live": live,
            "again": again,
            "p50": latencies[len(latencies) // 2] * 1000,
            "p99": latencies[len(latencies) * 99 // 100] * 1000,
        }


async def _started(
    database: Database, folder: Path, feed: _PushedFeed, venue: InstantVenue, processes: ForkedBots
) -> StrategyManager:
    store = PostgresTradingStore(database)
    house = TradingHouse(
        books=PostgresBooks(database),
        store=store,
        processes=processes,
        brokers=venue,
        feed=cast("BarFeed", feed),
        clock=SystemClock(),
        installation=await store.installation(),
        say=lambda *_: None,
        calendar=_no_calendar,
        strategy_target=lambda name: f"{folder / name}",
    )
    session = Session(f"bench-{next(_NUMBERS)}", socket.gethostname(), os.getpid(), boot_id())
    manager = StrategyManager(house, session, CrashMarker.in_directory(folder), database_client(database))
    await manager.load_strategies_from_db()
    await manager.start_all_strategies()
    return manager


async def _bar(bots: int, feed: _PushedFeed, venue: InstantVenue, number: int) -> list[float]:
    """Return for each bot how long its order took."""
    venue.came_at.clear()
    begin = time.perf_counter()
    feed.push(_BEGIN + timedelta(minutes=number))
    async with asyncio.timeout(30):
        while len(venue.came_at) < bots:  # noqa: ASYNC110 - a signal for each would be measured, too
            await asyncio.sleep(0.002)
    await asyncio.sleep(0.05)  # the fills are booked before the next bar, as at a real one
    return [at - begin for at in venue.came_at.values()]


async def _add_bots(database: Database, bots: int) -> None:
    config = {
        "symbol": "BTC",
        "timeframe": "1m",
        "history_bars": _HISTORY,
        "strategy": {"name": "every_bar.py:EveryBar"},
        "broker": {"type": "paper"},
        "capital": 1_000_000,
    }
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO trading_bots (user_id, name, config, desired_state) "
                "SELECT 1, 'bot ' || n, CAST(:config AS jsonb), 'running' FROM generate_series(1, :bots) n"
            ),
            {"config": json.dumps(config), "bots": bots},
        )


async def _require_all(database: Database, orders: int) -> None:
    async with database.transaction() as connection:
        query = text("SELECT count(*) FROM trading_orders WHERE status = 'filled'")
        found = (await connection.execute(query)).scalar_one()
    if found != orders:
        raise BenchmarkError(f"{found} of {orders} orders are filled")


@asynccontextmanager
async def _strategy() -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="atf-bench-") as name:
        folder = Path(name)
        (folder / "every_bar.py").write_text(_STRATEGY, "utf-8")
        yield folder


async def _no_calendar(name: str) -> Any:
    raise BenchmarkError(f"no calendar {name} here")
