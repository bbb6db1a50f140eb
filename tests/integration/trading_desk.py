"""A trading service in this loop, over a market that a test moves bar by bar."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.integration.conftest import Rows

from atf.bootstrap.trading import TradingOptions, trading_process
from atf.lifecycle import Progress
from atf.market.bars import Bars, Series, Timeframe
from atf.settings import Settings
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.market_clock_repository import PostgresMarketClock

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
PATIENCE = timedelta(seconds=20)

SCRIPTED = '''
import backtrader as bt

class Scripted(bt.Strategy):
    """Buys and sells at bars by their number since the first live one."""

    params = (("buy_at", ()), ("sell_at", ()), ("size", 1), ("explode_at", None), ("hang_at", None))

    def __init__(self):
        self.count = 0
        self.told = []

    def next(self):
        self.count += 1
        if self.count == self.p.explode_at:
            raise ValueError("this strategy explodes")
        if self.count == self.p.hang_at:
            while True:
                pass
        if self.count in self.p.buy_at:
            self.buy(size=self.p.size)
        if self.count in self.p.sell_at:
            self.sell(size=self.p.size)

    def notify_order(self, order):
        self.told.append(order.getstatusname())

    def save_state(self):
        return {"count": self.count, "told": self.told}

    def load_state(self, state):
        self.count, self.told = state["count"], state["told"]
'''


def price_at(day: int) -> float:
    """The open of a day; it closes one higher."""
    return 100.0 + day


@dataclass
class TradingDesk:
    """The service's home, database and market."""

    settings: Settings
    rows: Rows
    clock: PostgresMarketClock
    options: TradingOptions = field(default_factory=TradingOptions)

    async def add_bot(self, name: str = "one", *, desired: str = "running", **changes: Any) -> int:
        """Store a bot that runs the scripted strategy."""
        params = {key: changes.pop(key) for key in list(changes) if key in _PARAMS}
        config = {
            "symbol": "AAPL",
            "timeframe": "1d",
            "history_bars": 5,
            "strategy": {"name": "scripted.py:Scripted", "params": params},
            "broker": {"type": "paper"},
            "capital": "10000",
            **changes,
        }
        return int(
            await self.rows.value(
                "INSERT INTO trading_bots (user_id, name, config, desired_state) "
                "VALUES (1, :name, CAST(:config AS jsonb), :desired) RETURNING id",
                name=name,
                config=json.dumps(config),
                desired=desired,
            )
        )

    async def bar(self, times: int = 1) -> None:
        """Let the market close its next bars, one after the other, each seen by all bots that run."""
        for _ in range(times):
            await self.step()
            await self.until_seen()

    async def until_seen(self) -> None:
        """Wait until all bots that run have done the last closed bar."""
        now = (await self.clock.position()).now_at
        await self.until(
            "SELECT NOT EXISTS (SELECT FROM trading_bots b LEFT JOIN trading_bot_states s ON s.bot_id = b.id "
            "WHERE b.status IN ('running', 'starting') AND s.last_processed_bar IS DISTINCT FROM :bar)",
            bar=now - DAY,
        )

    async def step(self) -> None:
        """Let a day pass as soon as all bots that are to run have seen the last one."""
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not await self.clock.step():  # noqa: ASYNC110 - it tells nobody when it may
                await asyncio.sleep(0.02)

    async def move_clock(self, time: timedelta = DAY) -> None:
        """Let time pass, whether all bots have seen the last bar or not."""
        await self.rows.change("UPDATE market_clock SET now_at = now_at + :time, step = step + 1", time=time)
        await self.rows.change("DO $$ BEGIN PERFORM pg_notify('atf_clock', ''); END $$")

    async def until(self, question: str, **values: Any) -> None:
        """Wait until a query says yes."""
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not await self.rows.value(question, **values):  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.02)

    async def until_status(self, status: str, bot_id: int = 1) -> None:
        """Wait until a bot is so."""
        await self.until("SELECT status = :status FROM trading_bots WHERE id = :id", status=status, id=bot_id)

    async def books_agree(self, bot_id: int = 1) -> None:
        """Assert that our books and the paper venue's have the same orders, fills, cash and positions."""
        ours = await self.rows.all(
            "SELECT client_order_id, filled_quantity, status FROM trading_orders WHERE bot_id = :id "
            "AND reason IS NULL ORDER BY 1",
            id=bot_id,
        )
        account = f"bot-{bot_id}"
        theirs = await self.rows.all(
            "SELECT o.client_order_id, o.filled_quantity, o.status FROM paper_orders o "
            "JOIN paper_accounts a ON a.id = o.account_id WHERE a.name = :account ORDER BY 1",
            account=account,
        )
        assert [tuple(row) for row in ours] == [tuple(row) for row in theirs]
        cash = await self.rows.value("SELECT cash FROM trading_bot_states WHERE bot_id = :id", id=bot_id)
        assert cash == await self.rows.value(
            "SELECT cash FROM paper_accounts WHERE name = :account", account=account
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the service in this loop until the block ends."""
        async with trading_process(self.settings, Progress(), self.options) as service:
            await service.start()
            try:
                yield
            finally:
                await service.stop()


_PARAMS = ("buy_at", "sell_at", "size", "explode_at", "hang_at")


@asynccontextmanager
async def trading_desk(
    home: Path, database_url: str, database: Database, *, days: int = 40, symbols: Sequence[str] = ("AAPL",)
) -> AsyncIterator[TradingDesk]:
    """Yield a desk whose market has closed its first ten days."""
    store, clock = PostgresBarStore(database), PostgresMarketClock(database)
    for symbol in symbols:
        rows = [
            (BEGIN + day * DAY, price_at(day), price_at(day) + 2, price_at(day) - 1, price_at(day) + 1, 1000.0)
            for day in range(days)
        ]
        await store.store(Series(symbol, Timeframe.D1), Bars.from_rows(rows))
    await clock.begin(Timeframe.D1, BEGIN + 10 * DAY)
    await clock.run_until(BEGIN + days * DAY)
    folder = home / "strategies"
    folder.mkdir()
    (folder / "scripted.py").write_text(SCRIPTED, "utf-8")
    settings = Settings(
        home=home,
        database_url=database_url,
        trading_port=0,
        trading_poll_seconds=0.2,
        trading_restart_seconds=0.05,
        trading_heartbeat_seconds=2,
        worker_lease_seconds=3,
    )
    yield TradingDesk(settings, Rows(database), clock)
