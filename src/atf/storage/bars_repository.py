"""The bar store: reading the newest closed bars, and importing many at once by COPY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import psycopg
from sqlalchemy import text

from atf.errors import InvariantViolation
from atf.market.bar_store import NOTHING, PutAside
from atf.market.bars import Bars, Series, Timeframe
from atf.market.rebasing import rebased
from atf.pause_points import pause_point
from atf.storage import bar_writing
from atf.storage.bar_arrays import AGGREGATES, bars_of
from atf.storage.columns import Cursor, raw_cursor, raw_row
from atf.storage.database import Database

_NEWEST: Final = f"""
    SELECT wanted.position, found.*
    FROM unnest(%(symbols)s::text[], %(timeframes)s::text[], %(newest_opens)s::timestamptz[], %(counts)s::int8[])
        WITH ORDINALITY AS wanted (symbol, timeframe, newest_open, count, position)
    CROSS JOIN LATERAL (
        SELECT {AGGREGATES} FROM (
            SELECT open_time, open, high, low, close, volume FROM market_bars b
            WHERE b.symbol = wanted.symbol AND b.timeframe = wanted.timeframe
              AND b.open_time <= wanted.newest_open
            ORDER BY b.open_time DESC LIMIT wanted.count) AS newest) AS found
"""
_FIRST_OPEN: Final = text(
    "SELECT min(open_time) FROM market_bars WHERE symbol = :symbol AND timeframe = :timeframe"
)
_ENDS: Final = text(
    """
    SELECT min(open_time), max(open_time) FROM market_bars WHERE symbol = :symbol AND timeframe = :timeframe
    """
)
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
_BETWEEN: Final = f"""
    SELECT {AGGREGATES} FROM (
        SELECT open_time, open, high, low, close, volume FROM market_bars
        WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s
          AND open_time >= coalesce(%(since)s::timestamptz, '-infinity')
          AND open_time < coalesce(%(until)s::timestamptz, 'infinity')
        ORDER BY open_time) AS found
"""


class PostgresBarStore:
    """Bars in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def closed_bars(self, series: Series, until: datetime, count: int) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until``, oldest first."""
        return (await self.closed_bars_of({series: count}, until))[series]

    async def closed_bars_of(self, wanted: Mapping[Series, int], until: datetime) -> dict[Series, Bars]:
        """Return the newest bars of each series, as many as wanted, that are closed at ``until``."""
        if not wanted:
            return {}
        everything = list(wanted)
        values = {
            "symbols": [series.symbol for series in everything],
            "timeframes": [str(series.timeframe) for series in everything],
            "newest_opens": [until - series.timeframe.length for series in everything],
            "counts": list(wanted.values()),
        }
        async with self._database.transaction() as connection, await raw_cursor(connection) as cursor:
            await cursor.execute(_NEWEST, values)
            return _series_rows(cursor, everything)

    async def first_open(self, series: Series) -> datetime | None:
        """Return when the oldest stored bar of the series opens, None if there is none."""
        values = {"symbol": series.symbol, "timeframe": str(series.timeframe)}
        async with self._database.transaction() as connection:
            found: datetime | None = (await connection.execute(_FIRST_OPEN, values)).scalar_one()
            return found

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Return whether any bar of the series is stored."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_KNOWS, {"symbol": symbol, "timeframe": timeframe})
            return bool(found.scalar_one())

    async def symbols(self) -> Sequence[str]:
        """Return the symbols of which bars are stored, in order, at most 1,000."""
        async with self._database.transaction() as connection:
            return list((await connection.execute(_SYMBOLS)).scalars())

    async def between(self, series: Series, since: datetime | None = None, until: datetime | None = None) -> Bars:
        """Return all stored bars that open at ``since`` or later and before ``until``, oldest first."""
        values = {
            "symbol": series.symbol,
            "timeframe": str(series.timeframe),
            "since": since,
            "until": until,
        }
        async with self._database.transaction() as connection, await raw_cursor(connection) as cursor:
            await cursor.execute(_BETWEEN, values)
            return bars_of(raw_row(cursor))

    async def ends(self, series: Series) -> tuple[datetime, datetime] | None:
        """Return when the oldest and the newest stored bar of the series open, None if there is none."""
        values = {"symbol": series.symbol, "timeframe": str(series.timeframe)}
        async with self._database.transaction() as connection:
            first, last = (await connection.execute(_ENDS, values)).one()
        return None if first is None else (first, last)

    async def put_aside(self, series: Series, bad: PutAside, *, source: str) -> None:
        """Move stored bars into the quarantine; all of them or none."""
        async with self._database.transaction() as connection, await raw_cursor(connection) as cursor:
            await bar_writing.put_aside(cursor, series, bad, source)
            await bar_writing.delete(cursor, series, bad.bars)

    async def store(self, series: Series, bars: Bars, put_aside: PutAside = NOTHING, *, source: str = "") -> None:
        """Store bars, in place of those of the same time, and what was put aside; all of it or nothing."""
        if not len(bars) and not len(put_aside):
            return
        try:
            await self._store(series, bars, put_aside, source, may_be_new=True)
        except InvariantViolation as exc:
            if not _is_taken(exc):
                raise
            # Somebody stored some of them since we looked.
            await self._store(series, bars, put_aside, source, may_be_new=False)

    async def rebase(self, series: Series, bars: Bars, put_aside: PutAside, *, source: str) -> None:
        """Store bars that were fetched anew on another base, and bring all others to it; all of it or nothing.

        By how much is measured in the transaction (``rebasing.rebased``), so that of two who do it at once the
        second finds it done.

        Shape: at least one bar.
        """
        span = {"since": bars.time_at(0), "until": bars.time_at(-1) + series.timeframe.length}
        async with self._database.transaction() as connection, await raw_cursor(connection) as cursor:
            await bar_writing.lock_base(cursor, series)
            await cursor.execute(_BETWEEN, {**bar_writing.named(series), **span})
            found = rebased(bars_of(raw_row(cursor)), bars)
            await bar_writing.put_aside(cursor, series, put_aside, source)
            if found.older_factor != 1:
                await bar_writing.multiply_before(cursor, series, bars.time_at(0), found.older_factor)
            await bar_writing.merge(cursor, series, found.bars)
            await pause_point("bars.before_commit")

    async def _store(self, series: Series, bars: Bars, bad: PutAside, source: str, *, may_be_new: bool) -> None:
        async with self._database.transaction() as connection, await raw_cursor(connection) as cursor:
            await bar_writing.put_aside(cursor, series, bad, source)
            if len(bars) and not (may_be_new and await bar_writing.write_new(cursor, series, bars)):
                await bar_writing.merge(cursor, series, bars)
            await pause_point("bars.before_commit")


def _is_taken(error: InvariantViolation) -> bool:
    return isinstance(error.__cause__, psycopg.errors.UniqueViolation)


def _series_rows(cursor: Cursor, everything: Sequence[Series]) -> dict[Series, Bars]:
    """Return the bars of each series from rows of its position, counted from 1, and the arrays."""
    result = cursor.pgresult
    if result is None:
        raise InvariantViolation("a query of bars has a result")
    columns = range(1, result.nfields)
    found = {}
    for row in range(result.ntuples):
        position = int.from_bytes(result.get_value(row, 0) or b"")
        arrays = [result.get_value(row, column) for column in columns]
        found[everything[position - 1]] = bars_of(arrays, newest_first=True)
    return found
