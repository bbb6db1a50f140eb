"""The trading service's own parts around one bot on paper: real processes, real books, and a market in memory."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import text

from atf.adapters.bot_processes.bot_connection import BotConnection
from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.adapters.brokers.paper import PaperVenue
from atf.bootstrap.brokers import build_brokers
from atf.clock import SystemClock
from atf.market.data_manager import DataManager
from atf.storage.books_repository import PostgresBooks
from atf.storage.database import Database
from atf.storage.paper_repository import PostgresPaperStore
from atf.storage.trading_repository import PostgresTradingStore
from atf.testing.clocks import FakeMarketClock
from atf.trading.bar_feed import BarFeed, SeenTime
from atf.trading.books import BotChange
from atf.trading.bot_process import ProcessLimits
from atf.trading.crash_marker import CrashMarker
from atf.trading.order import BotId, ClientOrderId, OrderStatus
from atf.trading.service_store import Session
from atf.trading.session_life import boot_id
from atf.trading.strategy_instance import MIB, TradingHouse
from atf.trading.strategy_manager import StrategyManager
from tests.soak.endless_market import PERIOD, SERIES, SIZE, EndlessMarket, open_time

FEE_FRACTION: Final = Decimal("0.001")
MEMORY_MIB: Final = 256
WASTE: Final = 128 * 1024
NEARLY_FULL: Final = 150 * MIB
"""Some 185 MiB of the limit are the strategy's; its process is replaced when four fifths of them are taken.

From here on it takes an eighth as much: the service hears once a second how large it is.
"""
_PATIENCE: Final = 60.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STRATEGY: Final = '''
import backtrader as bt

class Wasteful(bt.Strategy):
    """Is long above the average and flat below it, and never gives back what it takes at a bar."""

    params = (("period", 0), ("size", 0), ("waste", 0), ("nearly_full", 0))

    def __init__(self):
        self.average = bt.indicators.SMA(self.data.close, period=self.p.period)
        self.is_long = False
        self.seen = self.odd = self.last = 0
        self.taken, self.kept = 0, []

    def next(self):
        minute = round(self.data.datetime[0] * 24 * 60)
        self.odd += self.seen > 0 and minute != self.last + 1
        self.seen, self.last = self.seen + 1, minute
        more = self.p.waste // (8 if self.taken >= self.p.nearly_full else 1)
        self.taken += more
        self.kept.append(bytearray(more))
        if self.is_long != (self.data.close[0] > self.average[0]):
            self.is_long = not self.is_long
            (self.buy if self.is_long else self.sell)(size=self.p.size)

    def save_state(self):
        return {"is_long": self.is_long, "seen": self.seen, "odd": self.odd, "last": self.last}

    def load_state(self, state):
        self.is_long, self.seen, self.odd, self.last = (state[key] for key in ("is_long", "seen", "odd", "last"))
'''


class WatchedBots(ForkedBots):
    """Bots' processes, each of which is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.pids: list[int] = []

    async def spawn(self, bot_id: BotId, limits: ProcessLimits) -> BotConnection:
        begun = await super().spawn(bot_id, limits)
        self.pids.append(begun.pid)
        return begun

    def memory(self) -> int:
        """How much the newest process has, as its limit counts it, in bytes; 0 if it has just ended."""
        with suppress(OSError):
            return int(Path(f"/proc/{self.pids[-1]}/statm").read_text().split()[5]) * _PAGE
        return 0


class WatchedBooks(PostgresBooks):
    """Books that tell when a bar is done and its orders have arrived."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._done_until: datetime | None = None
        self._on_their_way: set[ClientOrderId] = set()
        self._changed = asyncio.Event()

    async def commit(self, change: BotChange) -> None:
        await super().commit(change)
        self._on_their_way |= {o.client_order_id for o in change.new_orders if not o.status.is_final}
        self._on_their_way -= {o.client_order_id for o in change.orders if o.status is not OrderStatus.INTENT}
        if change.is_bar:
            self._done_until = change.book.last_bar_at
        self._changed.set()

    async def until_done(self, bar_at: datetime) -> None:
        """Wait until all of a bar is done. Errors: TimeoutError."""
        async with asyncio.timeout(_PATIENCE):
            while self._done_until != bar_at or self._on_their_way:
                self._changed.clear()
                await self._changed.wait()


@dataclass(frozen=True, slots=True)
class LonelyService:
    """One bot, and the market's time in a test's hands."""

    clock: FakeMarketClock
    feed: BarFeed
    books: WatchedBooks
    bots: WatchedBots

    async def run_bar(self, bar: int) -> None:
        """Close a bar, and wait until the bot has done it."""
        self.clock.at = open_time(bar + 1)
        self.feed.wake()
        await self.books.until_done(open_time(bar))


@asynccontextmanager
async def lonely_service(home: Path, database: Database, first_bar: int) -> AsyncIterator[LonelyService]:
    """Run the service of one bot that has not seen ``first_bar`` yet."""
    (home / "wasteful.py").write_text(_STRATEGY, "utf-8")
    await _add_bot(database)
    clock = FakeMarketClock(open_time(first_bar), is_replay=True)
    seen, store = SeenTime(clock.at), PostgresTradingStore(database)
    venue = PaperVenue(PostgresPaperStore(database), seen)
    feed = BarFeed(cast("DataManager", EndlessMarket()), clock, venue, seen)
    made = LonelyService(clock, feed, WatchedBooks(database), WatchedBots())
    house = TradingHouse(
        books=made.books,
        store=store,
        processes=made.bots,
        brokers=build_brokers(venue),
        feed=feed,
        clock=SystemClock(),
        installation=await store.installation(),
        say=lambda *_: None,
        calendar=_no_calendar,
        strategy_target=lambda name: str(home / name),
    )
    session = Session("soak", socket.gethostname(), os.getpid(), boot_id())
    manager = StrategyManager(house, session, CrashMarker.in_directory(home))
    feeding = asyncio.create_task(feed.run(lambda: None))
    try:
        await manager.load_strategies_from_db()
        await manager.start_all_strategies()
        await manager.start_monitoring()
        await manager.start_db_polling()
        yield made
    finally:
        await manager.shutdown()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _add_bot(database: Database) -> None:
    params = {"period": PERIOD, "size": SIZE, "waste": WASTE, "nearly_full": NEARLY_FULL}
    config = {
        "symbol": SERIES.symbol,
        "timeframe": SERIES.timeframe,
        "history_bars": 3 * PERIOD,
        "strategy": {"name": "wasteful.py:Wasteful", "params": params},
        "broker": {"type": "paper", "fee_fraction": float(FEE_FRACTION)},
        "capital": 1_000_000,
        "limits": {"memory_mib": MEMORY_MIB},
    }
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO trading_bots (user_id, name, config, desired_state) "
                "VALUES (1, 'one', CAST(:config AS jsonb), 'running')"
            ),
            {"config": json.dumps(config)},
        )


async def _no_calendar(name: str) -> Any:
    raise AssertionError(f"nobody needs a calendar {name}")
