"""``atf trading reconcile``: what bots hold beside what their venues say, without the service."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from atf.adapters.brokers.paper import PaperVenue
from atf.bootstrap.brokers import RegisteredBrokers, build_brokers
from atf.bootstrap.database import open_database
from atf.clock import SystemClock
from atf.errors import AtfError
from atf.settings import Settings
from atf.storage.books_repository import PostgresBooks
from atf.storage.database import Database
from atf.storage.paper_repository import PostgresPaperStore
from atf.storage.trading_repository import PostgresTradingStore
from atf.trading.book import BotBook
from atf.trading.books import BotChange
from atf.trading.bot import CRASHED, Bot
from atf.trading.bot_config import parse_bot_config
from atf.trading.order import BotId, ClientOrderId, Order
from atf.trading.order_cycle import OrderCycle, OrderDesk
from atf.trading.recovery import Recovery

_PATIENCE: Final = timedelta(seconds=20)
_RUNS: Final = "compared by its service"


@dataclass(frozen=True, slots=True)
class ReconciledPosition:
    """One symbol of one bot, and what a start does about it; or why nothing can be said."""

    bot_id: BotId
    name: str
    symbol: str
    finding: str
    booked: Decimal | None
    at_venue: Decimal | None
    action: str


class ReadOnlyBooks:
    """Books that forget what is committed: a plan changes nothing."""

    def __init__(self, books: PostgresBooks) -> None:
        self._books = books

    async def open(self, bot_id: BotId, capital: Decimal) -> None:
        """Begin nothing."""

    async def load(self, bot_ids: Collection[BotId]) -> Mapping[BotId, BotBook]:
        """Return the books of bots as they are stored."""
        return await self._books.load(bot_ids)

    async def commit(self, change: BotChange) -> None:
        """Store nothing."""

    async def order(self, bot_id: BotId, client_order_id: ClientOrderId) -> Order | None:
        """Return an order as it is stored."""
        return await self._books.order(bot_id, client_order_id)

    async def has_fill(self, bot_id: BotId, venue_fill_id: str) -> bool:
        """Return whether a fill is booked."""
        return await self._books.has_fill(bot_id, venue_fill_id)


async def reconcile_bots(
    settings: Settings, user_id: int | None, *, only_plan: bool
) -> Sequence[ReconciledPosition]:
    """Return what each bot holds and what a start would do about it.

    Without ``only_plan`` bots that run are asked to compare now; nothing is changed of those that do not run, as
    their next start does that before they trade.
    """
    async with open_database(settings) as database:
        store = PostgresTradingStore(database)
        brokers = build_brokers(PaperVenue(PostgresPaperStore(database), SystemClock()))
        found: list[ReconciledPosition] = []
        for bot in await store.bots(user_id):
            if bot.status in CRASHED and not only_plan:
                await store.ask(bot, "reconcile")
            found += await _positions_of(bot, database, brokers)
        return found


async def _positions_of(bot: Bot, database: Database, brokers: RegisteredBrokers) -> Sequence[ReconciledPosition]:
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            return await _plan(bot, database, brokers)
    except TimeoutError:
        reason = "its venue does not say what became of an order"
    except AtfError as exc:
        reason = str(exc)
    return [ReconciledPosition(bot.id, bot.name, "", f"unreachable: {reason}", None, None, "wait")]


async def _plan(bot: Bot, database: Database, brokers: RegisteredBrokers) -> Sequence[ReconciledPosition]:
    config = parse_bot_config(bot.config)
    books = ReadOnlyBooks(PostgresBooks(database))
    book = (await books.load([bot.id])).get(bot.id)
    if book is None:
        return []
    async with AsyncExitStack() as stack:
        broker = await brokers.open(bot, config)
        stack.push_async_callback(broker.close)
        desk = OrderDesk(books, broker, SystemClock(), {}, config.risk, "")
        cycle = OrderCycle(replace(book, marks={}), desk, _tell_nobody, lambda _: None)
        stack.push_async_callback(cycle.close)
        recovery = Recovery(cycle, broker, SystemClock(), config.symbols, config.startup_position_policy)
        planned = await recovery.plan()
    is_running = bot.status in CRASHED
    return [
        ReconciledPosition(
            bot.id,
            bot.name,
            one.finding.symbol,
            one.finding.finding,
            one.finding.booked,
            one.finding.at_venue,
            _RUNS if is_running else one.action,
        )
        for one in planned
    ]


async def _tell_nobody(*_: object) -> None:
    return
