"""What changes of bots are as SQL: one statement a kind of row, however many bots there are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import InvariantViolation
from atf.storage.message_adding import add_messages
from atf.trading.books import BotChange, BotEvent
from atf.trading.fill import Fill
from atf.trading.order import BotId, Order
from atf.trading.position import Holding, Trade

# Each takes its rows as one JSON array: numbers as text, so that no digit is lost.
_ADVANCED: Final = """
    advanced AS (
        UPDATE trading_bot_states s
        SET revision = g.revision, cash = g.cash, highest_equity = g.highest_equity,
            last_processed_bar = g.last_processed_bar, order_number = g.order_number, next_ref = g.next_ref,
            strategy_state = g.strategy_state, unheard = g.unheard, updated_at = now()
        FROM jsonb_to_recordset(CAST(:states AS jsonb)) AS g(
            bot_id int, revision bigint, cash numeric, highest_equity numeric, last_processed_bar timestamptz,
            order_number int, next_ref int, strategy_state jsonb, unheard jsonb)
        WHERE s.bot_id = g.bot_id AND s.revision = g.revision - 1
        RETURNING s.bot_id)
"""
_PARTS: Final = {
    "new_orders": """
        INSERT INTO trading_orders (client_order_id, bot_id, bar_at, number, ref, symbol, side, type, quantity,
                                    limit_price, stop_price, trail_amount, trail_fraction, valid_until, oco_group,
                                    parent, status, reason, is_cancel_requested, created_at)
        SELECT client_order_id, bot_id, bar_at, number, ref, symbol, side, type, quantity, limit_price,
               stop_price, trail_amount, trail_fraction, valid_until, oco_group, parent, status, reason,
               is_cancel_requested, created_at
        FROM advanced JOIN jsonb_to_recordset(CAST(:new_orders AS jsonb)) AS r(
            client_order_id text, bot_id int, bar_at timestamptz, number int, ref int, symbol text, side text,
            type text, quantity numeric, limit_price numeric, stop_price numeric, trail_amount numeric,
            trail_fraction numeric, valid_until timestamptz, oco_group text, parent text, status text,
            reason text, is_cancel_requested boolean, created_at timestamptz) USING (bot_id)
    """,
    "orders": """
        UPDATE trading_orders o
        SET status = r.status, filled_quantity = r.filled_quantity, filled_cost = r.filled_cost, fees = r.fees,
            venue_order_id = r.venue_order_id, reason = r.reason, is_cancel_requested = r.is_cancel_requested,
            updated_at = now()
        FROM advanced JOIN jsonb_to_recordset(CAST(:orders AS jsonb)) AS r(
            bot_id int, client_order_id text, status text, filled_quantity numeric, filled_cost numeric,
            fees numeric, venue_order_id text, reason text, is_cancel_requested boolean) USING (bot_id)
        WHERE o.client_order_id = r.client_order_id
    """,
    "fills": """
        INSERT INTO trading_fills (bot_id, client_order_id, venue_fill_id, symbol, side, quantity, price, fee,
                                   filled_at)
        SELECT bot_id, client_order_id, venue_fill_id, symbol, side, quantity, price, fee, filled_at
        FROM advanced JOIN jsonb_to_recordset(CAST(:fills AS jsonb)) AS r(
            bot_id int, client_order_id text, venue_fill_id text, symbol text, side text, quantity numeric,
            price numeric, fee numeric, filled_at timestamptz) USING (bot_id)
    """,
    "equity": """
        INSERT INTO trading_equity (bot_id, bar_at, equity, cash)
        SELECT bot_id, bar_at, equity, cash
        FROM advanced JOIN jsonb_to_recordset(CAST(:equity AS jsonb)) AS r(
            bot_id int, bar_at timestamptz, equity numeric, cash numeric) USING (bot_id)
        ON CONFLICT (bot_id, bar_at) DO UPDATE SET equity = excluded.equity, cash = excluded.cash
    """,
    "events": """
        INSERT INTO trading_bot_events (bot_id, kind, level, text, details)
        SELECT bot_id, kind, level, text, details
        FROM advanced JOIN jsonb_to_recordset(CAST(:events AS jsonb)) AS r(
            bot_id int, kind text, level text, text text, details jsonb) USING (bot_id)
    """,
}
"""What belongs to changes beside the states of their books: written for the books that have advanced alone."""
_REVISIONS: Final = text(
    "SELECT bot_id, revision FROM trading_bot_states WHERE bot_id = ANY(CAST(:bot_ids AS int[]))"
)
_POSITIONS: Final = text(
    """
    INSERT INTO trading_positions AS p (bot_id, symbol, direction, quantity, cost, realized, fees, status, origin,
                                        opened_at)
    SELECT bot_id, symbol, direction, quantity, cost, realized, fees, 'open', origin, opened_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        bot_id int, symbol text, direction text, quantity numeric, cost numeric, realized numeric, fees numeric,
        origin text, opened_at timestamptz)
    ON CONFLICT (bot_id, symbol) WHERE status = 'open' DO UPDATE
    SET quantity = excluded.quantity, cost = excluded.cost, realized = excluded.realized, fees = excluded.fees,
        updated_at = now()
    """
)
_TRADES: Final = text(
    """
    INSERT INTO trading_trades AS t (bot_id, position_id, symbol, direction, largest, entry_quantity, entry_cost,
                                     exit_quantity, exit_cost, realized, fees, status, entry_time)
    SELECT r.bot_id, p.id, r.symbol, r.direction, r.largest, r.entry_quantity, r.entry_cost, r.exit_quantity,
           r.exit_cost, r.realized, r.fees, 'open', r.entry_time
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        bot_id int, symbol text, direction text, largest numeric, entry_quantity numeric, entry_cost numeric,
        exit_quantity numeric, exit_cost numeric, realized numeric, fees numeric, entry_time timestamptz)
    JOIN trading_positions p ON p.bot_id = r.bot_id AND p.symbol = r.symbol AND p.status = 'open'
    ON CONFLICT (bot_id, symbol) WHERE status = 'open' DO UPDATE
    SET largest = excluded.largest, entry_quantity = excluded.entry_quantity, entry_cost = excluded.entry_cost,
        exit_quantity = excluded.exit_quantity, exit_cost = excluded.exit_cost, realized = excluded.realized,
        fees = excluded.fees
    """
)
_CLOSED: Final = (
    text(
        """
        UPDATE trading_positions p SET status = 'closed', closed_at = r.closed_at, updated_at = now()
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(bot_id int, symbol text, closed_at timestamptz)
        WHERE p.bot_id = r.bot_id AND p.symbol = r.symbol AND p.status = 'open'
        """
    ),
    text(
        """
        UPDATE trading_trades t SET status = 'closed', exit_time = r.closed_at
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(bot_id int, symbol text, closed_at timestamptz)
        WHERE t.bot_id = r.bot_id AND t.symbol = r.symbol AND t.status = 'open'
        """
    ),
)


def is_one_statement(changes: Sequence[BotChange]) -> bool:
    """Tell whether a single statement writes them, which needs no transaction around it."""
    return not any(one.holdings or one.messages for one in changes)


async def write_changes(connection: AsyncConnection, changes: Sequence[BotChange]) -> Mapping[BotId, int]:
    """Let books go on to their next revisions, each with all that belongs to its change.

    Return those that did not, with the revision they are at.
    """
    stuck = await _advance(connection, changes)
    fresh = [one for one in changes if one.book.bot_id not in stuck]
    for together in zip_longest(*(list(_lives(one)) for one in fresh)):
        await _write_holdings(connection, [life for life in together if life is not None])
    await add_messages(connection, [message for one in fresh for message in one.messages])
    return stuck


async def _advance(connection: AsyncConnection, changes: Sequence[BotChange]) -> Mapping[BotId, int]:
    rows = {name: list(made) for name, made in _rows_of(changes).items()}
    present = {name: _as_json(made) for name, made in rows.items() if made}
    states = _as_json([_state(one) for one in changes])
    found = await connection.execute(_statement(tuple(present)), {"states": states, **present})
    advanced = {row.bot_id for row in found}
    rest = [one.book.bot_id for one in changes if one.book.bot_id not in advanced]
    if not rest:
        return {}
    # A former try of the same change may have been committed meanwhile: only a new statement sees that.
    revisions = await connection.execute(_REVISIONS, {"bot_ids": rest})
    return dict.fromkeys(rest, -1) | {BotId(row.bot_id): row.revision for row in revisions}


@cache
def _statement(parts: tuple[str, ...]) -> TextClause:
    """Return the statement that advances books and writes these parts; a handful of them is ever used."""
    written = [_ADVANCED, *(f"{name} AS ({_PARTS[name]})" for name in parts)]
    return text(f"WITH {', '.join(written)} SELECT bot_id FROM advanced")


def _rows_of(changes: Sequence[BotChange]) -> Mapping[str, Iterable[Mapping[str, Any]]]:
    """Return the rows of each part of the statement."""
    return {
        "new_orders": (_new_order(order) for one in changes for order in _as_they_are_now(one)),
        "orders": (_order(order) for one in changes for order in _known_before(one)),
        "fills": (_fill(one, fill) for one in changes for fill in one.fills),
        "equity": (_equity(one) for one in changes if one.is_bar),
        "events": (_event(one, event) for one in changes for event in one.events),
    }


def _as_they_are_now(change: BotChange) -> Iterator[Order]:
    """Return new orders; one that is cancelled as soon as it is made has only this row to say so."""
    changed = {order.client_order_id: order for order in change.orders}
    return (changed.get(order.client_order_id, order) for order in change.new_orders)


def _known_before(change: BotChange) -> Iterator[Order]:
    new = {order.client_order_id for order in change.new_orders}
    return (order for order in change.orders if order.client_order_id not in new)


async def _write_holdings(connection: AsyncConnection, lives: Sequence[tuple[BotId, Holding]]) -> None:
    """Write one holding at most of each bot and symbol: a fill that turns a position is two of them."""
    await _write(connection, _POSITIONS, (_position(bot_id, holding) for bot_id, holding in lives))
    await _write(connection, _TRADES, (_trade(bot_id, holding) for bot_id, holding in lives))
    closed = [_closed(bot_id, holding) for bot_id, holding in lives if not holding.position.is_open]
    for statement in _CLOSED:
        await _write(connection, statement, closed)


def _lives(change: BotChange) -> Iterator[tuple[BotId, Holding]]:
    for one in change.holdings:
        for holding in (one.closed, one.after):
            if holding is not None and (holding is one.closed or holding.position.is_open):
                yield change.book.bot_id, holding


async def _write(connection: AsyncConnection, statement: TextClause, rows: Iterable[Mapping[str, Any]]) -> None:
    if found := list(rows):
        await connection.execute(statement, {"rows": _as_json(found)})


def _as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(rows, default=str)


def _state(change: BotChange) -> dict[str, Any]:
    book = change.book
    return {
        "bot_id": book.bot_id,
        "revision": book.revision,
        "cash": book.cash,
        "highest_equity": book.highest_equity,
        "last_processed_bar": book.last_bar_at,
        "order_number": book.order_number,
        "next_ref": book.next_ref,
        "strategy_state": book.state,
        "unheard": dict(book.unheard),
    }


def _new_order(order: Order) -> dict[str, Any]:
    terms = order.terms
    return {
        "client_order_id": order.client_order_id,
        "bot_id": order.bot_id,
        "bar_at": order.bar_at,
        "number": order.number,
        "ref": order.ref,
        "symbol": terms.symbol,
        "side": terms.side,
        "type": terms.type,
        "quantity": terms.quantity,
        "limit_price": terms.limit_price,
        "stop_price": terms.stop_price,
        "trail_amount": terms.trail_amount,
        "trail_fraction": terms.trail_fraction,
        "valid_until": terms.valid_until,
        "oco_group": order.new.oco_group,
        "parent": order.new.parent,
        "status": order.status,
        "reason": order.reason,
        "is_cancel_requested": order.is_cancel_requested,
        "created_at": order.created_at,
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "bot_id": order.bot_id,
        "client_order_id": order.client_order_id,
        "status": order.status,
        "filled_quantity": order.filled_quantity,
        "filled_cost": order.filled_cost,
        "fees": order.fees,
        "venue_order_id": order.venue_order_id,
        "reason": order.reason,
        "is_cancel_requested": order.is_cancel_requested,
    }


def _fill(change: BotChange, fill: Fill) -> dict[str, Any]:
    return {
        "bot_id": change.book.bot_id,
        "client_order_id": fill.client_order_id,
        "venue_fill_id": fill.venue_fill_id,
        "symbol": fill.symbol,
        "side": fill.side,
        "quantity": fill.quantity,
        "price": fill.price,
        "fee": fill.fee,
        "filled_at": fill.filled_at,
    }


def _position(bot_id: BotId, holding: Holding) -> dict[str, Any]:
    position, trade = holding.position, _trade_of(holding)
    return {
        "bot_id": bot_id,
        "symbol": position.symbol,
        "direction": trade.direction,
        "quantity": position.quantity,
        "cost": position.cost,
        "realized": position.realized_pnl,
        "fees": position.fees,
        "origin": "adopted" if position.is_adopted else "traded",
        "opened_at": position.opened_at,
    }


def _trade(bot_id: BotId, holding: Holding) -> dict[str, Any]:
    trade = _trade_of(holding)
    return {
        "bot_id": bot_id,
        "symbol": trade.symbol,
        "direction": trade.direction,
        "largest": trade.size,
        "entry_quantity": trade.entry_quantity,
        "entry_cost": trade.entry_cost,
        "exit_quantity": trade.exit_quantity,
        "exit_cost": trade.exit_cost,
        "realized": trade.realized_pnl,
        "fees": trade.fees,
        "entry_time": trade.entry_at,
    }


def _closed(bot_id: BotId, holding: Holding) -> dict[str, Any]:
    return {"bot_id": bot_id, "symbol": holding.position.symbol, "closed_at": _trade_of(holding).exit_at}


def _trade_of(holding: Holding) -> Trade:
    if holding.trade is None:
        raise InvariantViolation(f"a position of {holding.position.symbol} has no trade")
    return holding.trade


def _equity(change: BotChange) -> dict[str, Any]:
    book = change.book
    return {"bot_id": book.bot_id, "bar_at": book.last_bar_at, "equity": book.equity, "cash": book.cash}


def _event(change: BotChange, event: BotEvent) -> dict[str, Any]:
    return {
        "bot_id": change.book.bot_id,
        "kind": event.kind,
        "level": event.level,
        "text": event.text,
        "details": dict(event.details),
    }
