"""What changed in the paper venue's books, written column by column: few statements, however many accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.storage.paper_rows import state_columns, terms_columns, told
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId
from atf.trading.paper.account import ZERO, BookChanges, PaperBook, PaperOrder
from atf.trading.paper.store import AccountNews

_ADD_ORDERS: Final = text(
    """
    INSERT INTO paper_orders (account_id, client_order_id, symbol, side, type, quantity, limit_price, stop_price,
        trail_amount, trail_fraction, valid_until, oco_group, parent, status, reason, is_asleep, is_triggered,
        current_trigger, current_limit, filled_quantity, fill_count, accepted_at, active_from, changed_at)
    SELECT account_id, name, symbol, side, type, quantity, limit_price, stop_price,
        trail_amount, trail_fraction, valid_until, oco_group, parent, status, reason, is_asleep, is_triggered,
        current_trigger, current_limit, filled, fill_count, accepted_at, active_from, accepted_at
    FROM unnest(CAST(:account_ids AS int[]), CAST(:names AS text[]), CAST(:symbols AS text[]),
        CAST(:sides AS text[]), CAST(:types AS text[]), CAST(:quantities AS numeric[]),
        CAST(:limit_prices AS numeric[]), CAST(:stop_prices AS numeric[]), CAST(:trail_amounts AS numeric[]),
        CAST(:trail_fractions AS numeric[]), CAST(:valid_untils AS timestamptz[]), CAST(:groups AS text[]),
        CAST(:parents AS text[]), CAST(:statuses AS text[]), CAST(:reasons AS text[]), CAST(:asleep AS boolean[]),
        CAST(:triggered AS boolean[]), CAST(:triggers AS numeric[]), CAST(:limits AS numeric[]),
        CAST(:filled AS numeric[]), CAST(:counts AS int[]), CAST(:accepted AS timestamptz[]),
        CAST(:actives AS timestamptz[])) WITH ORDINALITY
      AS k(account_id, name, symbol, side, type, quantity, limit_price, stop_price, trail_amount, trail_fraction,
           valid_until, oco_group, parent, status, reason, is_asleep, is_triggered, current_trigger,
           current_limit, filled, fill_count, accepted_at, active_from, place)
    ORDER BY place
    RETURNING id, account_id, client_order_id
    """
)
_STORE_ORDERS: Final = text(
    """
    UPDATE paper_orders o
    SET status = k.status, reason = k.reason, is_asleep = k.is_asleep, is_triggered = k.is_triggered,
        current_trigger = k.current_trigger, current_limit = k.current_limit, filled_quantity = k.filled,
        fill_count = k.fill_count, active_from = k.active_from, changed_at = k.changed_at
    FROM unnest(CAST(:ids AS bigint[]), CAST(:statuses AS text[]), CAST(:reasons AS text[]),
                CAST(:asleep AS boolean[]), CAST(:triggered AS boolean[]), CAST(:triggers AS numeric[]),
                CAST(:limits AS numeric[]), CAST(:filled AS numeric[]), CAST(:counts AS int[]),
                CAST(:actives AS timestamptz[]), CAST(:changes AS timestamptz[]))
         AS k(id, status, reason, is_asleep, is_triggered, current_trigger, current_limit, filled, fill_count,
              active_from, changed_at)
    WHERE o.id = k.id
    """
)
_ADD_FILLS: Final = text(
    """
    INSERT INTO paper_fills (account_id, client_order_id, venue_fill_id, symbol, side, quantity, price, fee,
                             filled_at)
    SELECT account_id, name, fill_id, symbol, side, quantity, price, fee, filled_at
    FROM unnest(CAST(:account_ids AS int[]), CAST(:names AS text[]), CAST(:fill_ids AS text[]),
                CAST(:symbols AS text[]), CAST(:sides AS text[]), CAST(:quantities AS numeric[]),
                CAST(:prices AS numeric[]), CAST(:fees AS numeric[]), CAST(:instants AS timestamptz[]))
         WITH ORDINALITY AS k(account_id, name, fill_id, symbol, side, quantity, price, fee, filled_at, place)
    ORDER BY place
    """
)
_STORE_CASH: Final = text(
    """
    UPDATE paper_accounts a SET cash = k.cash, updated_at = now()
    FROM unnest(CAST(:ids AS int[]), CAST(:cash AS numeric[])) AS k(id, cash) WHERE a.id = k.id
    """
)
_STORE_POSITIONS: Final = text(
    """
    INSERT INTO paper_positions (account_id, symbol, quantity)
    SELECT * FROM unnest(CAST(:ids AS int[]), CAST(:symbols AS text[]), CAST(:quantities AS numeric[]))
    ON CONFLICT (account_id, symbol) DO UPDATE SET quantity = EXCLUDED.quantity
    """
)


@dataclass(slots=True)
class ChangedAccount:
    """An account whose row is locked, and what came of it so far; ``changed_at`` by the market's time."""

    id: int
    name: str
    book: PaperBook
    orders: dict[ClientOrderId, tuple[PaperOrder, datetime]] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)

    def take(self, changes: BookChanges, changed_at: datetime) -> None:
        """Go on from what something made of the book."""
        self.book = changes.after
        self.orders |= {order.client_order_id: (order, changed_at) for order in changes.orders}
        self.fills += changes.fills

    @property
    def news(self) -> AccountNews:
        """What there is to tell."""
        return AccountNews(self.name, tuple(self.fills), tuple(told(order) for order, _ in self.orders.values()))


async def add_orders(
    connection: AsyncConnection, orders: Sequence[tuple[int, PaperOrder]]
) -> dict[tuple[int, str], int]:
    """Store new orders of accounts by id; return their numbers by account and name."""
    only = [order for _, order in orders]
    values = {"account_ids": [id_ for id_, _ in orders], **terms_columns(only), **state_columns(only)}
    rows = await connection.execute(_ADD_ORDERS, values)
    return {(row.account_id, row.client_order_id): row.id for row in rows}


async def store_changes(connection: AsyncConnection, accounts: Sequence[ChangedAccount]) -> None:
    """Store all that came of accounts; their rows are locked."""
    await _store_orders(connection, [pair for account in accounts for pair in account.orders.values()])
    filled = [account for account in accounts if account.fills]
    if not filled:
        return
    await _add_fills(connection, [(account.id, fill) for account in filled for fill in account.fills])
    cash = {"ids": [one.id for one in filled], "cash": [one.book.cash for one in filled]}
    await connection.execute(_STORE_CASH, cash)
    held = [(one, symbol) for one in filled for symbol in sorted({fill.symbol for fill in one.fills})]
    positions: list[Decimal] = [one.book.positions.get(symbol, ZERO) for one, symbol in held]
    values = {
        "ids": [one.id for one, _ in held],
        "symbols": [symbol for _, symbol in held],
        "quantities": positions,
    }
    await connection.execute(_STORE_POSITIONS, values)


async def _store_orders(connection: AsyncConnection, changed: Sequence[tuple[PaperOrder, datetime]]) -> None:
    if not changed:
        return
    orders = [order for order, _ in changed]
    values = {
        "ids": [order.number for order in orders],
        "changes": [changed_at for _, changed_at in changed],
        **state_columns(orders),
    }
    await connection.execute(_STORE_ORDERS, values)


async def _add_fills(connection: AsyncConnection, fills: Sequence[tuple[int, Fill]]) -> None:
    """Store fills; one that is there already means that a bar was matched twice, which the database refuses."""
    values = {
        "account_ids": [id_ for id_, _ in fills],
        "names": [fill.client_order_id for _, fill in fills],
        "fill_ids": [fill.venue_fill_id for _, fill in fills],
        "symbols": [fill.symbol for _, fill in fills],
        "sides": [str(fill.side) for _, fill in fills],
        "quantities": [fill.quantity for _, fill in fills],
        "prices": [fill.price for _, fill in fills],
        "fees": [fill.fee for _, fill in fills],
        "instants": [fill.filled_at for _, fill in fills],
    }
    await connection.execute(_ADD_FILLS, values)
