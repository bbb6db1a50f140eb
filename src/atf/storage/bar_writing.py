"""Writing bars inside an open transaction: many by COPY, a few by one INSERT, bad ones into the quarantine."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, LiteralString

import numpy as np

from atf.market.bar_store import PutAside
from atf.market.bars import COLUMNS, Bars, Series
from atf.storage.bar_copy import HEADER, TRAILER, copied
from atf.storage.columns import Cursor

_FEW: Final = 500
"""Up to so many bars are merged without a table beside: one a minute for each series would bloat the catalog."""
_ANY_BETWEEN: Final = """
    SELECT EXISTS (SELECT FROM market_bars WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s
                   AND open_time BETWEEN %(first)s AND %(last)s)
"""
_STRAIGHT: Final = "COPY market_bars FROM STDIN (FORMAT BINARY)"
_BESIDE: Final = "COPY incoming FROM STDIN (FORMAT BINARY)"
# A missing value is NULL: as NaN, which PostgreSQL puts above all numbers, it would be the highest of its column.
_VALUES: Final = ", ".join(f"NULLIF({name}, 'NaN')" for name in COLUMNS)
_REPLACE: Final = ", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS)
_MERGE: Final = f"""
    INSERT INTO market_bars (symbol, timeframe, open_time, open, high, low, close, volume)
    SELECT symbol, timeframe, open_time, {_VALUES} FROM incoming ORDER BY open_time
    ON CONFLICT (symbol, timeframe, open_time) DO UPDATE SET {_REPLACE}
"""
_GIVEN: Final = """
    unnest(%(times)s::int8[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[], %(close)s::float8[],
           %(volume)s::float8[]{more}) AS given (microseconds, open, high, low, close, volume{names})
"""
_OPEN_TIME: Final = "'epoch'::timestamptz + microseconds * interval '1 microsecond'"
_MERGE_FEW: Final = f"""
    INSERT INTO market_bars (symbol, timeframe, open_time, open, high, low, close, volume)
    SELECT %(symbol)s, %(timeframe)s, {_OPEN_TIME}, {_VALUES} FROM {_GIVEN.format(more="", names="")}
    ORDER BY microseconds
    ON CONFLICT (symbol, timeframe, open_time) DO UPDATE SET {_REPLACE}
"""
_PUT_ASIDE: Final = f"""
    INSERT INTO market_bars_quarantine
        (symbol, timeframe, open_time, open, high, low, close, volume, reason, source)
    SELECT %(symbol)s, %(timeframe)s, {_OPEN_TIME}, {_VALUES}, reason, %(source)s
    FROM {_GIVEN.format(more=", %(reasons)s::text[]", names=", reason")}
    ORDER BY microseconds
    ON CONFLICT (symbol, timeframe, open_time, reason)
    DO UPDATE SET {_REPLACE}, source = EXCLUDED.source, found_at = now()
"""

_DELETE: Final = f"""
    DELETE FROM market_bars WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s
       AND open_time IN (SELECT {_OPEN_TIME} FROM unnest(%(times)s::int8[]) AS given (microseconds))
"""
_MULTIPLY: Final = """
    UPDATE market_bars
    SET open = open * %(factor)s, high = high * %(factor)s, low = low * %(factor)s, close = close * %(factor)s,
        volume = volume / %(factor)s
    WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s AND open_time >= %(since)s AND open_time < %(before)s
"""
_MULTIPLIED_AT_ONCE: Final = 200_000
"""So many bars are changed by one statement at most, as each has a time limit."""
_FIRST_OPEN: Final = (
    "SELECT min(open_time) FROM market_bars WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s"
)
_LOCK_BASE: Final = """
    SELECT pg_advisory_xact_lock(
        hashtextextended('market_bars ' || %(timeframe)s::text || ' ' || %(symbol)s::text, 0))
"""


async def write_new(cursor: Cursor, series: Series, bars: Bars) -> bool:
    """Copy bars straight into the table, if nothing is stored yet between the first and the last of them.

    That takes a third of the time of a merge. Returns False, with nothing written, if it is not possible: a value
    is missing, or bars are there already. Errors: the database's unique violation, if somebody was faster.
    """
    if not _is_complete(bars) or await _has_any(cursor, series, bars):
        return False
    await _copy(cursor, _STRAIGHT, series, bars)
    return True


async def merge(cursor: Cursor, series: Series, bars: Bars) -> None:
    """Write bars, in place of stored ones of the same time."""
    if len(bars) <= _FEW:
        await cursor.execute(_MERGE_FEW, _columns(series, bars))
        return
    await cursor.execute("CREATE TEMP TABLE incoming (LIKE market_bars) ON COMMIT DROP")
    await _copy(cursor, _BESIDE, series, bars)
    await cursor.execute(_MERGE)


async def put_aside(cursor: Cursor, series: Series, bad: PutAside, source: str) -> None:
    """Write bars that must not be used into the quarantine; of one that is there already the newest counts."""
    if len(bad):
        reasons = [str(reason) for reason in bad.reasons]
        await cursor.execute(_PUT_ASIDE, {**_columns(series, bad.bars), "reasons": reasons, "source": source})


async def delete(cursor: Cursor, series: Series, bars: Bars) -> None:
    """Delete the stored bars of these times."""
    await cursor.execute(_DELETE, {**named(series), "times": (bars.open_time // 1000).tolist()})


async def lock_base(cursor: Cursor, series: Series) -> None:
    """Let nobody else measure a series' base until the transaction ends: both would find the old one."""
    await cursor.execute(_LOCK_BASE, named(series))


async def multiply_before(cursor: Cursor, series: Series, before: datetime, factor: float) -> None:
    """Multiply the prices of all stored bars that open before an instant, and divide their volumes."""
    await cursor.execute(_FIRST_OPEN, named(series))
    row = await cursor.fetchone()
    since = row[0] if row else None
    step = _MULTIPLIED_AT_ONCE * series.timeframe.length
    while since is not None and since < before:
        end = since + step if before - since > step else before
        values = {**named(series), "since": since, "before": end, "factor": factor}
        await cursor.execute(_MULTIPLY, values)
        since = end


def named(series: Series) -> dict[str, str]:
    """Return the parameters that name a series."""
    return {"symbol": series.symbol, "timeframe": str(series.timeframe)}


def _columns(series: Series, bars: Bars) -> dict[str, Any]:
    columns = {name: bars.column(name).tolist() for name in COLUMNS}
    times = (bars.open_time // 1000).tolist()
    return {**named(series), "times": times, **columns}


async def _copy(cursor: Cursor, statement: LiteralString, series: Series, bars: Bars) -> None:
    async with cursor.copy(statement) as copy:
        await copy.write(HEADER)
        for block in copied(series, bars):
            await copy.write(block)
        await copy.write(TRAILER)


async def _has_any(cursor: Cursor, series: Series, bars: Bars) -> bool:
    ends = {"first": bars.time_at(0), "last": bars.time_at(len(bars) - 1)}
    await cursor.execute(_ANY_BETWEEN, {**named(series), **ends})
    found = await cursor.fetchone()
    return bool(found and found[0])


def _is_complete(bars: Bars) -> bool:
    return all(bool(np.isfinite(bars.column(name)).all()) for name in COLUMNS)
