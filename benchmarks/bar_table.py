"""Bars as a database has them: made up, imported and read by ATF, and by the quickest SQL that does the same."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final, LiteralString

import numpy as np
import psycopg

from atf.market.bars import COLUMNS, Bars, FloatArray, Series, Timeframe, to_nanoseconds
from atf.storage.bar_copy import HEADER, TRAILER, copied
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from benchmarks.measure import BenchmarkError, Observation
from benchmarks.server import BenchServer

RATE: Final = "bars_per_second"
TIMEFRAME: Final = Timeframe.M1
BEGIN: Final = datetime(2024, 1, 1, tzinfo=UTC)
_SEED: Final = 20_271_102
_PIECE: Final = 2_000_000
"""Bytes that are handed to COPY at a time; all at once was not quicker."""
_READS: Final = 7
"""Reads in a round, of which the median counts."""

# The newest bars of each series, whatever is stored of the others.
_NEWEST: Final = """
    SELECT wanted.position, found.*
    FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS wanted (symbol, position)
    CROSS JOIN LATERAL (
        SELECT {chosen} FROM (
            SELECT open_time, open, high, low, close, volume FROM market_bars b
            WHERE b.symbol = wanted.symbol AND b.timeframe = '1m' AND b.open_time <= %(newest)s
            ORDER BY b.open_time DESC LIMIT %(count)s) AS newest) AS found
"""
_ARRAYS: Final = ", ".join(f"array_agg({name})" for name in ("open_time", *COLUMNS))
# Answers only where all series have the same bars without a gap, as here.
_RANGE: Final = """
    SELECT symbol, open_time, open, high, low, close, volume FROM market_bars
    WHERE symbol = ANY(%(symbols)s) AND timeframe = '1m' AND open_time > %(before)s AND open_time <= %(newest)s
    ORDER BY symbol, open_time
"""


def walks(series: int, bars: int) -> dict[Series, Bars]:
    """Return so many series of so many bars each; equal counts give equal bars."""
    return {Series(f"BENCH{number:03d}", TIMEFRAME): _walk(number, bars) for number in range(series)}


def _walk(number: int, count: int) -> Bars:
    random = np.random.default_rng([_SEED, number])
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.0005, count)))
    opens = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opens, close) * 1.0005, np.minimum(opens, close) * 0.9995
    minute = int(TIMEFRAME.length.total_seconds()) * 10**9
    times = to_nanoseconds(BEGIN) + np.arange(count, dtype=np.int64) * minute
    values: FloatArray = np.column_stack([opens, high, low, close, random.uniform(1_000, 2_000, count)])
    return Bars.from_columns(times, values)


def close_of(bar: int) -> datetime:
    """Return when a bar closes, 0 being the first."""
    return BEGIN + (bar + 1) * TIMEFRAME.length


@dataclass
class BarTable:
    """The table of bars of one database, and a plain connection to it."""

    server: BenchServer
    name: str
    database: Database
    plain: psycopg.AsyncConnection[tuple[Any, ...]]

    @classmethod
    async def open(cls, server: BenchServer, name: str, stack: AsyncExitStack) -> BarTable:
        database = await stack.enter_async_context(server.database(name))
        plain = await psycopg.AsyncConnection.connect(server.url(name), autocommit=True)
        return cls(server, name, database, await stack.enter_async_context(plain))

    async def empty(self) -> None:
        """Leave no bars."""
        await self.server.execute(self.name, "TRUNCATE market_bars")
        await self.server.settle(self.name)

    async def require(self, bars: int) -> None:
        """Raise BenchmarkError unless so many bars are stored."""
        found = await (await self.plain.execute("SELECT count(*) FROM market_bars")).fetchone() or (0,)
        if found[0] != bars:
            raise BenchmarkError(f"{found[0]} bars are stored, and should be {bars}")

    # --- writing ---

    async def import_by_store(self, market: Mapping[Series, Bars]) -> Observation:
        """Store each series as `atf data import` does: looked for first, and in a transaction of its own."""
        await self.empty()
        store = PostgresBarStore(self.database)
        begin = time.perf_counter()
        for series, bars in market.items():
            await store.store(series, bars)
        return await self._imported(market, time.perf_counter() - begin)

    async def import_by_copy(self, market: Mapping[Series, Bars], payload: bytes, kind: str) -> Observation:
        """Send rows that lie ready as bytes, all in one COPY; nothing is made, looked for or checked."""
        await self.empty()
        begin = time.perf_counter()
        await self.copy(payload, "(FORMAT BINARY)" if kind == "binary" else "(FORMAT TEXT)")
        return await self._imported(market, time.perf_counter() - begin)

    async def copy(self, payload: bytes, options: LiteralString = "(FORMAT BINARY)") -> None:
        """Copy bytes into the table."""
        async with self.plain.cursor() as cursor, cursor.copy(f"COPY market_bars FROM STDIN {options}") as copy:
            for start in range(0, len(payload), _PIECE):
                await copy.write(payload[start : start + _PIECE])

    async def _imported(self, market: Mapping[Series, Bars], seconds: float) -> Observation:
        count = sum(len(bars) for bars in market.values())
        await self.require(count)
        return {RATE: count / seconds}

    # --- reading ---

    async def read_by_store(self, wanted: Mapping[Series, int], until: datetime) -> Observation:
        """Read through the store, into bars."""
        store = PostgresBarStore(self.database)
        seconds = []
        for _ in range(_READS):
            begin = time.perf_counter()
            found = await store.closed_bars_of(wanted, until)
            seconds.append(time.perf_counter() - begin)
            _require_as_many(sum(len(bars) for bars in found.values()), wanted)
        return _read(wanted, seconds)

    async def read_rows(self, wanted: Mapping[Series, int], until: datetime) -> Observation:
        """Read the newest of each series as rows, in binary, into Python's tuples."""
        seconds = []
        for _ in range(_READS):
            begin = time.perf_counter()
            async with self.plain.cursor(binary=True) as cursor:
                await cursor.execute(_NEWEST.format(chosen="*").encode(), _values(wanted, until))
                rows = await cursor.fetchall()
            seconds.append(time.perf_counter() - begin)
            _require_as_many(len(rows), wanted)
        return _read(wanted, seconds)

    async def read_arrays(self, wanted: Mapping[Series, int], until: datetime) -> Observation:
        """Read the newest of each series as an array a column, in binary, and leave the bytes as they come."""
        return await self._read_bytes(_NEWEST.format(chosen=_ARRAYS), wanted, until, rows=len(wanted))

    async def read_range(self, wanted: Mapping[Series, int], until: datetime) -> Observation:
        """Read all bars of a stretch of time, in binary, and leave the bytes as they come."""
        return await self._read_bytes(_RANGE, wanted, until, rows=sum(wanted.values()))

    async def _read_bytes(
        self, query: str, wanted: Mapping[Series, int], until: datetime, *, rows: int
    ) -> Observation:
        seconds = []
        for _ in range(_READS):
            begin = time.perf_counter()
            async with self.plain.cursor(binary=True) as cursor:
                await cursor.execute(query.encode(), _values(wanted, until))
                found = cursor.rowcount
            seconds.append(time.perf_counter() - begin)
            if found != rows:
                raise BenchmarkError(f"{found} rows were read, and should be {rows}")
        return _read(wanted, seconds)


def _values(wanted: Mapping[Series, int], until: datetime) -> dict[str, Any]:
    count = max(wanted.values())
    newest = until - TIMEFRAME.length
    return {
        "symbols": [series.symbol for series in wanted],
        "newest": newest,
        "before": newest - count * TIMEFRAME.length,
        "count": count,
    }


def _require_as_many(bars: int, wanted: Mapping[Series, int]) -> None:
    if bars != sum(wanted.values()):
        raise BenchmarkError(f"{bars} bars were read, and should be {sum(wanted.values())}")


def _read(wanted: Mapping[Series, int], seconds: Sequence[float]) -> Observation:
    return {RATE: sum(wanted.values()) / median(seconds), "ms": median(seconds) * 1000}


def binary_rows(market: Mapping[Series, Bars]) -> bytes:
    """Return all bars as COPY reads them in binary."""
    return b"".join([HEADER, *(block for each in market.items() for block in copied(*each)), TRAILER])


def text_rows(market: Mapping[Series, Bars], separator: str = "\t") -> str:
    """Return all bars as lines of symbol, timeframe, open time and values."""
    return "".join(
        separator.join((series.symbol, series.timeframe, at.isoformat(), *map(repr, values))) + "\n"
        for series, bars in market.items()
        for at, values in zip(_open_times(bars), _rows(bars), strict=True)
    )


def write_csv(market: Mapping[Series, Bars], path: Path) -> None:
    """Write all bars as a file that `atf data import` reads."""
    header = ",".join(("symbol", "timeframe", "timestamp", *COLUMNS))
    path.write_text(f"{header}\n{text_rows(market, ',')}", "utf-8")


def _open_times(bars: Bars) -> Sequence[datetime]:
    first = bars.time_at(0)
    steps = (bars.open_time - bars.open_time[0]) // 10**9
    return [first + timedelta(seconds=step) for step in steps.tolist()]


def _rows(bars: Bars) -> Sequence[tuple[float, ...]]:
    return list(zip(*(bars.column(name).tolist() for name in COLUMNS), strict=True))
