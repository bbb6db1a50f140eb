"""A trading service whose bots trade at a local venue, which a test lets misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.installed_packages import Installed
from tests.integration.trading_desk import BEGIN, DAY, PATIENCE, TradingDesk, price_at, trading_desk

from atf.market.bars import Series, Timeframe
from atf.storage.database import Database
from atf.testing.venue import LocalVenue, local_venue
from atf.testing.venue_books import HeldAccount
from atf.trading.paper.account import AccountRules, FillModel

_ON_THE_WAY = "status IN ('intent', 'submitted', 'unknown')"
SERIES = Series("AAPL", Timeframe.D1)


@dataclass
class VenueDesk(TradingDesk):
    """A desk with a venue of its own; it has to be moved by this desk's bars."""

    venue: LocalVenue = None  # type: ignore[assignment]

    async def add_bot(self, name: str = "one", *, desired: str = "running", **changes: Any) -> int:
        """Store a bot that trades at the venue, at an account called after it."""
        broker = {"type": "local-venue", "url": self.venue.url, "timeout_seconds": 0.5}
        return await super().add_bot(name, desired=desired, **{"broker": broker, **changes})

    async def close_bar(self) -> None:
        """Let the market close its next bar, at the venue first, and wait for nobody."""
        await self._match_next()
        await self.move_clock()

    async def _match_next(self) -> None:
        day = ((await self.clock.position()).now_at - BEGIN) // DAY
        base = price_at(day)
        candle = (base, base + 2, base - 1, base + 1, 1000.0)
        await self.venue.push_bar(SERIES, BEGIN + day * DAY, candle)

    async def bar(self, times: int = 1) -> None:
        """Let the market close its next bars, each seen by all bots that run, and their orders sent."""
        for _ in range(times):
            await self._match_next()
            await self.step()
            await self.until_seen()
            await self.until(f"SELECT NOT EXISTS (SELECT FROM trading_orders WHERE {_ON_THE_WAY})")

    async def until_booked(self, fills: int, bot_id: int = 1) -> None:
        """Wait until so many fills of a bot are booked."""
        await self.until("SELECT count(*) = :fills FROM trading_fills WHERE bot_id = :id", fills=fills, id=bot_id)

    async def until_order(self, status: str, bot_id: int = 1) -> None:
        """Wait until a bot's newest order is so."""
        await self.until(
            "SELECT coalesce((SELECT status = :status FROM trading_orders WHERE bot_id = :id "
            "ORDER BY id DESC LIMIT 1), false)",
            status=status,
            id=bot_id,
        )

    def account(self, bot_id: int = 1) -> HeldAccount:
        """A bot's account, as the venue has it."""
        return self.venue.account(f"bot-{bot_id}")

    def move_by_hand(self, quantity: int, bot_id: int = 1) -> None:
        """Change what the venue holds for a bot, without an order."""
        self.venue.change_position_by_hand(f"bot-{bot_id}", "AAPL", Decimal(quantity))

    async def held(self, bot_id: int = 1) -> Decimal:
        """What the books say that a bot holds."""
        sql = "SELECT coalesce(sum(quantity), 0) FROM trading_positions WHERE bot_id = :id AND status = 'open'"
        return Decimal(await self.rows.value(sql, id=bot_id))

    def held_at_venue(self, bot_id: int = 1) -> Decimal:
        """What the venue says that a bot holds."""
        return self.account(bot_id).account.book.positions.get("AAPL", Decimal(0))

    async def books_agree(self, bot_id: int = 1) -> None:
        """Assert that the venue took no order twice, and that books and venue agree to the last digit."""
        account = self.account(bot_id)
        await self.until_booked(len(account.fills), bot_id)
        names = await self.rows.column("SELECT client_order_id FROM trading_orders WHERE bot_id = :id", id=bot_id)
        assert max((self.venue.submissions[name] for name in names), default=0) <= 1, "an order was sent twice"
        sql = "SELECT venue_fill_id, quantity, price, fee FROM trading_fills WHERE bot_id = :id"
        fills = [tuple(row) for row in await self.rows.all(sql, id=bot_id)]
        assert sorted(fills) == sorted((f.venue_fill_id, f.quantity, f.price, f.fee) for f in account.fills)
        cash = await self.rows.value("SELECT cash FROM trading_bot_states WHERE bot_id = :id", id=bot_id)
        assert cash == account.account.book.cash
        assert await self.held(bot_id) == self.held_at_venue(bot_id)

    async def books(self) -> list[tuple[Any, ...]]:
        """All that the books say, to be compared with what they say later."""
        found: list[tuple[Any, ...]] = []
        for table, what in _BOOKS.items():
            found += map(tuple, await self.rows.all(f"SELECT {what} FROM {table} ORDER BY id"))
        cash = "SELECT bot_id, cash, order_number FROM trading_bot_states ORDER BY 1"
        return [*found, *map(tuple, await self.rows.all(cash))]

    @asynccontextmanager
    async def coming_up(self) -> AsyncIterator[None]:
        """Run the service until the block ends, and do not wait until it has started."""
        async with asyncio.TaskGroup() as group:
            ended, begun = asyncio.Event(), asyncio.Event()
            group.create_task(self._run(begun, ended))
            try:
                yield
                async with asyncio.timeout(PATIENCE.total_seconds()):
                    await begun.wait()
            finally:
                ended.set()

    async def _run(self, begun: asyncio.Event, ended: asyncio.Event) -> None:
        async with self.running():
            begun.set()
            await ended.wait()


_BOOKS = {
    "trading_orders": "client_order_id, status, filled_quantity, reason",
    "trading_fills": "venue_fill_id, quantity, price",
    "trading_positions": "id, bot_id, quantity, avg_price, status, realized_pnl",
    "trading_trades": "id, bot_id, size, entry_price, status, realized_pnl",
}


@asynccontextmanager
async def venue_desk(
    home: Path,
    database_url: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    model: FillModel | None = None,
) -> AsyncIterator[VenueDesk]:
    """Yield a desk and a venue at the same instant, whose type of broker is installed.

    ``model``: how the venue fills orders, of bars whose volume is 1,000; None: at once and for nothing.
    """
    plugins = home / "plugins"
    plugins.mkdir()
    Installed(plugins, monkeypatch).broker(
        "atf-test-local-venue", "local-venue = atf.testing.venue_broker:broker_type"
    )
    rules = AccountRules(model or FillModel(), allow_short=True)
    async with (
        trading_desk(home, database_url, database) as desk,
        local_venue(BEGIN + 10 * DAY, rules, Decimal(10_000)) as venue,
    ):
        yield VenueDesk(desk.settings, desk.rows, desk.clock, venue=venue)
