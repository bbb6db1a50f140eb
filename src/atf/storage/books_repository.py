"""The books of bots as SQL: loaded at a start, then written change by change, those of many bots together."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row, text

from atf.errors import AtfError, DatabaseUnavailable, TransactionConflict
from atf.gathering import Gathering
from atf.storage.book_writing import is_one_statement, write_changes
from atf.storage.database import Database
from atf.trading.book import BotBook
from atf.trading.books import BotChange, BotTaken
from atf.trading.order import (
    BotId,
    ClientOrderId,
    NewOrder,
    Order,
    OrderStatus,
    OrderTerms,
    OrderType,
    Side,
)
from atf.trading.position import Direction, Holding, Position, Trade

_LOGGER = logging.getLogger(__name__)
_MOMENT: Final = 0.003
_AT_MOST: Final = 0.2
"""Seconds that what is told waits for orders that are to be sent."""
_PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
_OPEN: Final = "status NOT IN ('filled', 'cancelled', 'rejected', 'lost')"
_OPEN_BOOK: Final = text(
    """
    INSERT INTO trading_bot_states (bot_id, cash, highest_equity) VALUES (:bot_id, :capital, :capital)
    ON CONFLICT (bot_id) DO NOTHING
    """
)
_STATES: Final = text("SELECT * FROM trading_bot_states WHERE bot_id = ANY(CAST(:bot_ids AS int[]))")
_HOLDINGS: Final = text(
    """
    SELECT p.bot_id, p.symbol, p.quantity, p.cost, p.realized, p.fees, p.opened_at, p.origin,
           t.direction, t.entry_time, t.largest, t.entry_quantity, t.entry_cost, t.exit_quantity, t.exit_cost,
           t.realized AS trade_realized, t.fees AS trade_fees
    FROM trading_positions p
    JOIN trading_trades t ON t.bot_id = p.bot_id AND t.symbol = p.symbol AND t.status = 'open'
    WHERE p.status = 'open' AND p.bot_id = ANY(CAST(:bot_ids AS int[]))
    """
)
_OPEN_ORDERS: Final = text(
    f"SELECT * FROM trading_orders WHERE {_OPEN} AND bot_id = ANY(CAST(:bot_ids AS int[])) ORDER BY id"
)
_ORDER: Final = text("SELECT * FROM trading_orders WHERE bot_id = :bot_id AND client_order_id = :name")
_RECENT_FILLS: Final = text(
    """
    SELECT b.bot_id, f.venue_fill_id FROM unnest(CAST(:bot_ids AS int[])) AS b(bot_id)
    CROSS JOIN LATERAL (SELECT id, venue_fill_id FROM trading_fills WHERE bot_id = b.bot_id
                        ORDER BY id DESC LIMIT 500) f
    ORDER BY f.id
    """
)
_HAS_FILL: Final = text("SELECT 1 FROM trading_fills WHERE bot_id = :bot_id AND venue_fill_id = :venue_fill_id")
_MOVE_REPLAY: Final = text("SELECT pg_notify('atf_schedules', '')")


class PostgresBooks:
    """Books in PostgreSQL; it waits for a database that is away.

    ``is_replay``: whoever moves the market's time waits for bars to be done.
    """

    def __init__(self, database: Database, *, is_replay: bool = False) -> None:
        self._database = database
        self._is_replay = is_replay
        # Orders go first: what is told of those before them can wait, but not for long.
        self._to_send: Gathering[BotChange, None] = Gathering(self._commit_patiently)
        self._told: Gathering[BotChange, None] = Gathering(
            self._commit_patiently, after=lambda: self._to_send.quiet(_MOMENT, _AT_MOST)
        )

    async def open(self, bot_id: BotId, capital: Decimal) -> None:
        """Begin the book of a bot that has none, with its capital as cash."""
        async with self._database.transaction() as connection:
            await connection.execute(_OPEN_BOOK, {"bot_id": bot_id, "capital": capital})

    async def load(self, bot_ids: Collection[BotId]) -> Mapping[BotId, BotBook]:
        """Return the books of bots, all of one instant; a bot without a book is missing."""
        values = {"bot_ids": list(bot_ids)}
        async with self._database.transaction() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            states = (await connection.execute(_STATES, values)).all()
            holdings = _by_bot((await connection.execute(_HOLDINGS, values)).all())
            orders = _by_bot((await connection.execute(_OPEN_ORDERS, values)).all())
            fills = _by_bot((await connection.execute(_RECENT_FILLS, values)).all())
        return {
            BotId(row.bot_id): _book(row, holdings[row.bot_id], orders[row.bot_id], fills[row.bot_id])
            for row in states
        }

    async def commit(self, change: BotChange) -> None:
        """Store a change and return when it is committed, together with those that have gathered meanwhile.

        Errors: BotTaken; UnstorableData.
        """
        await (self._to_send if change.new_orders else self._told).ask(change)

    async def order(self, bot_id: BotId, client_order_id: ClientOrderId) -> Order | None:
        """Return an order of a bot, final ones too; None if there is none of this name."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_ORDER, {"bot_id": bot_id, "name": client_order_id})
            row = found.one_or_none()
        return None if row is None else _order(row)

    async def has_fill(self, bot_id: BotId, venue_fill_id: str) -> bool:
        """Return whether a fill is booked."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_HAS_FILL, {"bot_id": bot_id, "venue_fill_id": venue_fill_id})
            return found.first() is not None

    async def _commit_patiently(self, changes: Sequence[BotChange]) -> Sequence[Exception | None]:
        tries = 0
        while True:
            try:
                return await self._commit(changes)
            except (DatabaseUnavailable, TransactionConflict) as exc:
                _LOGGER.warning("changes of %d bots are not committed yet: %s", len(changes), exc)
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
            except AtfError as exc:
                if len(changes) == 1:
                    return [exc]
                middle = len(changes) // 2  # the culprit alone fails
                first = await self._commit_patiently(changes[:middle])
                return [*first, *await self._commit_patiently(changes[middle:])]

    async def _commit(self, changes: Sequence[BotChange]) -> Sequence[Exception | None]:
        if not self._is_replay and is_one_statement(changes):
            async with self._database.statement() as connection:
                stuck = await write_changes(connection, changes)
        else:
            async with self._database.transaction() as connection:
                stuck = await write_changes(connection, changes)
                if self._is_replay and any(one.is_bar for one in changes):
                    await connection.execute(_MOVE_REPLAY)
        return [_verdict(one, stuck.get(one.book.bot_id)) for one in changes]


def _verdict(change: BotChange, revision: int | None) -> Exception | None:
    if revision is None or revision == change.book.revision:  # by now, or by a try whose answer was lost
        return None
    return BotTaken(f"bot {change.book.bot_id} belongs to another trading service now")


def _by_bot(rows: Sequence[Row[Any]]) -> Mapping[int, list[Row[Any]]]:
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.bot_id].append(row)
    return found


def _book(
    row: Row[Any], holdings: Sequence[Row[Any]], orders: Sequence[Row[Any]], fills: Sequence[Row[Any]]
) -> BotBook:
    return BotBook(
        bot_id=BotId(row.bot_id),
        cash=row.cash,
        revision=row.revision,
        holdings={one.symbol: _holding(one) for one in holdings},
        orders={ClientOrderId(one.client_order_id): _order(one) for one in orders},
        recent_fills=tuple(one.venue_fill_id for one in fills),
        last_bar_at=row.last_processed_bar,
        order_number=row.order_number,
        next_ref=row.next_ref,
        state=row.strategy_state,
        unheard=row.unheard,
        highest_equity=row.highest_equity,
    )


def _holding(row: Row[Any]) -> Holding:
    position = Position(
        row.symbol,
        row.quantity,
        row.cost,
        row.realized,
        row.fees,
        row.opened_at,
        is_adopted=row.origin == "adopted",
    )
    trade = Trade(
        row.symbol,
        Direction(row.direction),
        row.entry_time,
        row.largest,
        row.entry_quantity,
        row.entry_cost,
        row.exit_quantity,
        row.exit_cost,
        row.trade_realized,
        row.trade_fees,
    )
    return Holding(position, trade)


def _order(row: Row[Any]) -> Order:
    terms = OrderTerms(
        row.symbol,
        Side(row.side),
        OrderType(row.type),
        row.quantity,
        row.limit_price,
        row.stop_price,
        row.trail_amount,
        row.trail_fraction,
        row.valid_until,
    )
    parent = None if row.parent is None else ClientOrderId(row.parent)
    return Order(
        bot_id=BotId(row.bot_id),
        ref=row.ref,
        bar_at=row.bar_at,
        number=row.number,
        new=NewOrder(ClientOrderId(row.client_order_id), terms, row.oco_group, parent),
        status=OrderStatus(row.status),
        filled_quantity=row.filled_quantity,
        filled_cost=row.filled_cost,
        fees=row.fees,
        venue_order_id=row.venue_order_id,
        reason=row.reason,
        created_at=row.created_at,
        is_cancel_requested=row.is_cancel_requested,
    )
