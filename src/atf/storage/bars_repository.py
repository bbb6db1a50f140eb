"""The bar store: reading the newest closed bars, and importing many at once by COPY."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, cast

import numpy as np
import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import InvariantViolation
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.storage.bar_copy import HEADER, TRAILER, copied
from atf.storage.database import Database

# Read by the driver itself, as rows of six doubles: making SQLAlchemy rows of them took most of a batch's time.
# Microseconds since 1970 fit a double exactly for the next two centuries.
_NEWEST: Final = """
    SELECT extract(epoch FROM open_time)::float8 * 1e6, open, high, low, close, volume FROM market_bars
    WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s AND open_time <= %(newest_open)s
    ORDER BY open_time DESC LIMIT %(count)s
"""
_KNOWS: Final = text("SELECT EXISTS (SELECT FROM market_bars WHERE symbol = :symbol AND timeframe = :timeframe)")
# One index probe a symbol, instead of reading all the bars for their few names.
_SYMBOLS: Final = text(
    """
    WITH RECURSIVE names AS (
        SELECT min(symbol) AS symbol FROM market_bars
        UNION ALL
        SELECT (SELECT min(symbol) FROM market_bars b WHERE b.symbol > n.symbol) FROM names n
        WHERE n.symbol IS NOT NULL)
    SELECT symbol FROM names WHERE symbol IS NOT NULL LIMIT 1000
    """
)
_ANY_BETWEEN: Final = """
    SELECT EXISTS (SELECT FROM market_bars WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s
                   AND open_time BETWEEN %(first)s AND %(last)s)
"""
_STRAIGHT: Final = "COPY market_bars FROM STDIN (FORMAT BINARY)"
_BESIDE: Final = "COPY incoming FROM STDIN (FORMAT BINARY)"
# A missing value is NULL: as NaN, which PostgreSQL puts above all numbers, it would be the highest of its column.
_MERGE: Final = """
    INSERT INTO market_bars (symbol, timeframe, open_time, open, high, low, close, volume)
    SELECT symbol, timeframe, open_time, NULLIF(open, 'NaN'), NULLIF(high, 'NaN'), NULLIF(low, 'NaN'),
           NULLIF(close, 'NaN'), NULLIF(volume, 'NaN')
    FROM incoming
    ON CONFLICT (symbol, timeframe, open_time) DO UPDATE
    SET open = EXCLUDED.open, high = EXCLUDED.high, low = EXCLUDED.low, close = EXCLUDED.close,
        volume = EXCLUDED.volume
"""

Cursor = psycopg.AsyncCursor[tuple[Any, ...]]


class PostgresBarStore:
    """Bars in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def closed_bars(self, series: Series, until: datetime, count: int) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until``, oldest first."""
        values = {
            "symbol": series.symbol,
            "timeframe": str(series.timeframe),
            "newest_open": until - series.timeframe.length,
            "count": count,
        }
        async with self._database.transaction() as connection, await _cursor(connection) as cursor:
            await cursor.execute(_NEWEST, values)
            rows = await cursor.fetchall()
        table = np.array(rows[::-1], dtype=np.float64).reshape(len(rows), 6)
        return Bars.from_columns(np.rint(table[:, 0]).astype(np.int64) * 1000, table[:, 1:])

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Return whether any bar of the series is stored."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_KNOWS, {"symbol": symbol, "timeframe": timeframe})
            return bool(found.scalar_one())

    async def symbols(self) -> Sequence[str]:
        """Return the symbols of which bars are stored, in order, at most 1,000."""
        async with self._database.transaction() as connection:
            return list((await connection.execute(_SYMBOLS)).scalars())

    async def store(self, series: Series, bars: Bars) -> None:
        """Store bars in one transaction; a bar that is stored already is replaced.

        Where nothing is stored yet between the first and the last of them, and no value is missing, they go
        straight into the table, which takes a third of the time.
        """
        if not len(bars):
            return
        try:
            async with self._database.transaction() as connection, await _cursor(connection) as cursor:
                if _is_complete(bars) and not await _has_any(cursor, series, bars):
                    await _copy(cursor, _STRAIGHT, series, bars)
                    return
                await _merge(cursor, series, bars)
        except InvariantViolation as exc:
            if not _is_taken(exc):
                raise
            # Somebody stored some of them since we looked.
            async with self._database.transaction() as connection, await _cursor(connection) as cursor:
                await _merge(cursor, series, bars)


async def _merge(cursor: Cursor, series: Series, bars: Bars) -> None:
    await cursor.execute("CREATE TEMP TABLE incoming (LIKE market_bars) ON COMMIT DROP")
    await _copy(cursor, _BESIDE, series, bars)
    await cursor.execute(_MERGE)


async def _copy(cursor: Cursor, statement: LiteralString, series: Series, bars: Bars) -> None:
    async with cursor.copy(statement) as copy:
        await copy.write(HEADER)
        for block in copied(series, bars):
            await copy.write(block)
        await copy.write(TRAILER)


async def _has_any(cursor: Cursor, series: Series, bars: Bars) -> bool:
    values = {"symbol": series.symbol, "timeframe": str(series.timeframe)}
    ends = {"first": bars.time_at(0), "last": bars.time_at(len(bars) - 1)}
    await cursor.execute(_ANY_BETWEEN, {**values, **ends})
    found = await cursor.fetchone()
    return bool(found and found[0])


def _is_complete(bars: Bars) -> bool:
    return all(bool(np.isfinite(bars.column(name)).all()) for name in COLUMNS)


def _is_taken(error: InvariantViolation) -> bool:
    return isinstance(error.__cause__, psycopg.errors.UniqueViolation)


async def _cursor(connection: AsyncConnection) -> Cursor:
    """Return the driver's own cursor, in the open transaction, with binary results."""
    raw = (await connection.get_raw_connection()).driver_connection
    return cast("psycopg.AsyncConnection", raw).cursor(binary=True)
