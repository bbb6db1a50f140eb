"""What benchmarks of trading share: the real service over a benchmark's own bars and venue."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import text

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.clock import SystemClock
from atf.lifecycle.process import spare_what_stays
from atf.market.bars import Timeframe
from atf.storage.books_repository import PostgresBooks
from atf.storage.database import Database
from atf.storage.trading_repository import PostgresTradingStore
from atf.trading.bar_feed import BarFeed, ClosedBars, Subscription
from atf.trading.bot_messages import Candle, Said
from atf.trading.crash_marker import CrashMarker
from atf.trading.order import BotId
from atf.trading.service_store import Session
from atf.trading.session_life import boot_id
from atf.trading.strategy_instance import TradingHouse
from atf.trading.strategy_manager import ManagerIntervals, StrategyManager
from benchmarks.instant_venue import InstantVenue
from benchmarks.measure import BenchmarkError

HISTORY: Final = 250
EVERY_BAR: Final = """
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
"""A strategy that trades at every bar."""
_BEGIN: Final = datetime(2026, 3, 2, tzinfo=UTC)
_CANDLE: Final[Candle] = (100.0, 101.0, 99.0, 100.0, 10.0)
_SESSIONS: Final = count()


class PushedFeed:
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
        made = Subscription(bot_id, symbols, timeframe, {symbols[0]: _history(end, length)}, end)
        self.subscriptions[bot_id] = made
        return made

    def age(self, subscription: Subscription) -> None:
        """Call nothing late."""

    def unsubscribe(self, bot_id: BotId) -> None:
        """Forget a bot."""
        self.subscriptions.pop(bot_id, None)

    def push(self, number: int) -> None:
        """Close a bar of all bots; bars are numbered from 1."""
        open_time = _BEGIN + timedelta(minutes=number)
        for one in self.subscriptions.values():
            one.queue.put_nowait(ClosedBars(open_time, {one.symbols[0]: _CANDLE}, is_late=False))


@cache
def _history(end: datetime, length: int) -> Sequence[tuple[datetime, Candle]]:
    """Made-up bars, made once: making them is not what is measured."""
    return [(end - timedelta(minutes=back), _CANDLE) for back in range(length, -1, -1)]


@dataclass(frozen=True, slots=True)
class TradingFloor:
    """What services of a benchmark trade on, one after the other; ``say`` gets what the strategies print."""

    database: Database
    folder: Path
    say: Callable[[BotId, Said], None] = lambda *_: None
    feed: PushedFeed = field(default_factory=PushedFeed)
    venue: InstantVenue = field(default_factory=InstantVenue)

    async def started(self, processes: ForkedBots, intervals: ManagerIntervals | None = None) -> StrategyManager:
        """Start a service, and return when all bots run."""
        store = PostgresTradingStore(self.database)
        house = TradingHouse(
            books=PostgresBooks(self.database),
            store=store,
            processes=processes,
            brokers=self.venue,
            feed=cast("BarFeed", self.feed),
            clock=SystemClock(),
            installation=await store.installation(),
            say=self.say,
            calendar=_no_calendar,
            strategy_target=lambda name: f"{self.folder / name}",
        )
        session = Session(f"bench-{next(_SESSIONS)}", socket.gethostname(), os.getpid(), boot_id())
        marker = CrashMarker.in_directory(self.folder)
        manager = StrategyManager(house, session, marker, intervals)
        await manager.load_strategies_from_db()
        await manager.start_all_strategies()
        spare_what_stays()  # as a service does that has started
        return manager

    async def add_bots(self, count: int, name: str, **changes: Any) -> Sequence[BotId]:
        """Store bots that want to run, called ``name`` and their number; return their ids."""
        config = {
            "symbol": "BTC",
            "timeframe": "1m",
            "history_bars": HISTORY,
            "strategy": {"name": "every_bar.py:EveryBar"},
            "broker": {"type": "paper"},
            "capital": 1_000_000,
            **changes,
        }
        values = {"name": name, "config": json.dumps(config), "count": count}
        async with self.database.transaction() as connection:
            return [BotId(row.id) for row in await connection.execute(_ADD, values)]


_ADD: Final = text(
    "INSERT INTO trading_bots (user_id, name, config, desired_state) "
    "SELECT 1, :name || ' ' || n, CAST(:config AS jsonb), 'running' FROM generate_series(1, :count) n "
    "RETURNING id"
)


@asynccontextmanager
async def strategy_folder(files: Mapping[str, str]) -> AsyncIterator[Path]:
    """Yield a folder with the strategies of these files."""
    with tempfile.TemporaryDirectory(prefix="atf-bench-") as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_text(content, "utf-8")
        yield folder


async def _no_calendar(name: str) -> Any:
    raise BenchmarkError(f"no calendar {name} here")
