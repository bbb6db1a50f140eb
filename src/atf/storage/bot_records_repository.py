"""What bots did and hold, as people look at it: lists, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, TextClause, text

from atf.storage.database import Database
from atf.storage.stored_document import snapshot_of
from atf.trading.bot_records import (
    BotVersion,
    EquityPoint,
    EventRecord,
    FillRecord,
    OrderRecord,
    PositionRecord,
    RecordFilter,
    TradeRecord,
)
from atf.trading.order import BotId

_ANY: Final = "true"
_OPEN: Final = "status = 'open'"


def _list(columns: str, table: str, *, number: str = "id", is_open: str = _ANY) -> TextClause:
    """Return the statement of a page. The averages are shown only: books compute with what they are made of."""
    return text(
        f"""
        SELECT {columns} FROM {table}
        WHERE bot_id = :bot_id AND (CAST(:before_id AS bigint) IS NULL OR {number} < :before_id)
          AND (NOT :only_open OR {is_open})
        ORDER BY {number} DESC LIMIT :limit
        """
    )


_VERSION: Final = "bot_id, version, config, note, changed_by, changed_at"
_VERSIONS: Final = _list(_VERSION, "trading_bot_versions", number="version")
_ONE_VERSION: Final = text(
    f"SELECT {_VERSION} FROM trading_bot_versions WHERE bot_id = :bot_id AND version = :version"
)
_EVENTS: Final = _list("id, at, kind, level, text, details", "trading_bot_events")
_ORDERS: Final = _list(
    """
    id, client_order_id, symbol, side, type, quantity, limit_price, stop_price, trail_amount, trail_fraction,
    filled_quantity, trim_scale(filled_cost / nullif(filled_quantity, 0)) AS average_price, fees, status, reason,
    venue_order_id, bar_at, created_at, updated_at
    """,
    "trading_orders",
    is_open="status NOT IN ('filled', 'cancelled', 'rejected', 'lost')",
)
_FILLS: Final = _list("id, client_order_id, symbol, side, quantity, price, fee, filled_at", "trading_fills")
_POSITIONS: Final = _list(
    """
    id, symbol, direction, status, abs(quantity) AS quantity,
    trim_scale(cost / nullif(abs(quantity), 0)) AS average_price, realized AS realized_pnl, fees, origin,
    opened_at, closed_at
    """,
    "trading_positions",
    is_open=_OPEN,
)
_TRADES: Final = _list(
    """
    id, symbol, direction, status, largest AS size, entry_time,
    trim_scale(entry_cost / nullif(entry_quantity, 0)) AS entry_price, exit_time,
    trim_scale(exit_cost / nullif(exit_quantity, 0)) AS exit_price, realized AS realized_pnl, fees
    """,
    "trading_trades",
    is_open=_OPEN,
)
_EQUITY: Final = text(
    """
    SELECT bar_at, equity, cash FROM trading_equity
    WHERE bot_id = :bot_id AND (CAST(:before AS timestamptz) IS NULL OR bar_at < :before)
    ORDER BY bar_at DESC LIMIT :limit
    """
)


class PostgresBotRecords:
    """The tables that the trading service fills, read only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def versions(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[BotVersion]:
        """Return versions of the configuration; their numbers are the ids."""
        return [_version(row) for row in await self._page(_VERSIONS, bot_id, wanted)]

    async def version(self, bot_id: BotId, version: int) -> BotVersion | None:
        """Return one version."""
        rows = await self._rows(_ONE_VERSION, {"bot_id": bot_id, "version": version})
        return _version(rows[0]) if rows else None

    async def events(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[EventRecord]:
        """Return what happened."""
        return [EventRecord(**row._mapping) for row in await self._page(_EVENTS, bot_id, wanted)]

    async def orders(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[OrderRecord]:
        """Return orders."""
        return [OrderRecord(**row._mapping) for row in await self._page(_ORDERS, bot_id, wanted)]

    async def fills(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[FillRecord]:
        """Return executions."""
        return [FillRecord(**row._mapping) for row in await self._page(_FILLS, bot_id, wanted)]

    async def positions(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[PositionRecord]:
        """Return positions."""
        return [PositionRecord(**row._mapping) for row in await self._page(_POSITIONS, bot_id, wanted)]

    async def trades(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[TradeRecord]:
        """Return trades."""
        return [TradeRecord(**row._mapping) for row in await self._page(_TRADES, bot_id, wanted)]

    async def equity(self, bot_id: BotId, before: datetime | None, limit: int) -> Sequence[EquityPoint]:
        """Return what the bot was worth, before an instant if one is given."""
        rows = await self._rows(_EQUITY, {"bot_id": bot_id, "before": before, "limit": limit})
        return [EquityPoint(**row._mapping) for row in rows]

    async def _page(self, statement: TextClause, bot_id: BotId, wanted: RecordFilter) -> Sequence[Row[Any]]:
        return await self._rows(statement, {"bot_id": bot_id, **asdict(wanted)})

    async def _rows(self, statement: TextClause, values: dict[str, Any]) -> Sequence[Row[Any]]:
        async with self._database.transaction() as connection:
            return (await connection.execute(statement, values)).all()


def _version(row: Row[Any]) -> BotVersion:
    return BotVersion(**{**row._mapping, "config": snapshot_of(row.config)})
