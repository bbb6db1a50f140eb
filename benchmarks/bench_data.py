"""Market data: importing and reading bars beside plain SQL, memory, indicators beside TA-Lib, many callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from statistics import median
from typing import Final

from atf.market.bars import Bars, Series
from atf.testing.processes import Installation
from benchmarks.bar_callers import ask_beside_one_that_hangs, ask_together, ask_warm
from benchmarks.bar_table import RATE, TIMEFRAME, BarTable, binary_rows, close_of, text_rows, walks, write_csv
from benchmarks.bench import Bench
from benchmarks.indicator_calls import DIRECT, IndicatorCalls
from benchmarks.measure import (
    BenchmarkError,
    Contender,
    Observation,
    Rounds,
    Source,
    ratio_at_least,
    ratio_at_most,
    value_at_most,
)

_IMPORTED_SERIES: Final = 10
_READ_BARS: Final = 250
_STORED_BARS: Final = 520
_SHARED_SERIES: Final = 50
_PATIENCE_SECONDS: Final = 600


async def benchmark(bench: Bench) -> None:
    """Measure the indicators, then on one server importing, reading, warm answers and callers at once."""
    await _indicators(bench)
    async with bench.server() as server, AsyncExitStack() as stack:
        table = await BarTable.open(server, "bars", stack)
        await _import(bench, table)
        await _read(bench, table)
        await _callers(bench, table)
        await _hanging(bench, table)


# --- importing


async def _import(bench: Bench, table: BarTable) -> None:
    size = bench.options.size or bench.choose(1_000_000, 5_000)
    market = walks(_IMPORTED_SERIES, size // _IMPORTED_SERIES)
    binary, plain = binary_rows(market), text_rows(market).encode()
    rounds = await bench.rounds(
        {
            "store": lambda: table.import_by_store(market),
            "binary": lambda: table.import_by_copy(market, binary, "binary"),
            "text": lambda: table.import_by_copy(market, plain, "text"),
        }
    )
    raw = _quickest(rounds, "binary", "text")
    bench.notes.append(f"import: the quicker raw COPY is {raw}")
    bench.report(
        "import", "bars/s", rounds, Source("store", RATE), baseline=Source(raw, RATE), goal=ratio_at_least(0.5)
    )
    rounds = await bench.rounds(
        {
            "command": lambda: _import_file(bench, table, market),
            "text": lambda: table.import_by_copy(market, plain, "text"),
        },
        count=3,
    )
    bench.report("import_csv", "bars/s", rounds, Source("command", RATE), baseline=Source("text", RATE))


async def _import_file(bench: Bench, table: BarTable, market: Mapping[Series, Bars]) -> Observation:
    """Let ``atf data import`` read a CSV file of all series: its start, reading, checking and storing."""
    path = bench.folder / "bars.csv"
    if not path.exists():
        write_csv(market, path)
    await table.empty()
    count = sum(len(bars) for bars in market.values())
    with Installation({"ATF_DATABASE_URL": table.server.url(table.name)}) as installation:
        begin = time.perf_counter()
        done = await asyncio.to_thread(
            installation.run, "data", "import", str(path), "--timeframe", TIMEFRAME, patience=_PATIENCE_SECONDS
        )
        seconds = time.perf_counter() - begin
    if done.returncode:
        raise BenchmarkError(f"atf data import ended with status {done.returncode}: {done.stderr}")
    await table.require(count)
    return {RATE: count / seconds}


# --- reading


async def _read(bench: Bench, table: BarTable) -> None:
    market = walks(bench.choose(500, 20), _STORED_BARS)
    await table.empty()
    await table.copy(binary_rows(market))
    await table.server.settle(table.name)
    # Newer bars are stored, as they are for whoever asks for an instant of the past.
    wanted, until = dict.fromkeys(market, _READ_BARS), close_of(_STORED_BARS - 20)
    contenders: dict[str, Contender] = {
        "store": lambda: table.read_by_store(wanted, until),
        "arrays": lambda: table.read_arrays(wanted, until),
        "rows": lambda: table.read_rows(wanted, until),
        "range": lambda: table.read_range(wanted, until),
    }
    for each in contenders.values():  # once before it counts: pages, plans and connections
        await each()
    rounds = await bench.rounds(contenders)
    raw = _quickest(rounds, "arrays", "rows", "range")
    bench.notes.append(f"read: the quickest single query is {raw}")
    bench.report(
        "read", "bars/s", rounds, Source("store", RATE), baseline=Source(raw, RATE), goal=ratio_at_least(0.5)
    )
    for name in ("arrays", "rows", "range"):
        bench.report(f"read_ms_against_{name}", "ms", rounds, Source("store", "ms"), baseline=Source(name, "ms"))
    newest = close_of(_STORED_BARS - 1)
    warm = await bench.rounds(
        {
            "again": lambda: ask_warm(table, wanted, newest, step=timedelta(0)),
            "later": lambda: ask_warm(table, wanted, newest, step=timedelta(seconds=1)),
        }
    )
    for name, asked in (("read_warm", "again"), ("read_warm_later", "later")):
        bench.report(name, "ms", warm, Source(asked, "ms"), goal=value_at_most(5))
        bench.report(f"{name}_wall", "ms", warm, Source(asked, "wall_ms"))


def _quickest(rounds: Rounds, *names: str) -> str:
    return max(names, key=lambda name: median(rounds.figures(Source(name, RATE))))


# --- callers at once


async def _callers(bench: Bench, table: BarTable) -> None:
    market, until = walks(_SHARED_SERIES, _READ_BARS), close_of(_READ_BARS - 1)
    wanted, callers = dict.fromkeys(market, _READ_BARS), bench.choose(1_000, 100)
    one_each = [{series: count} for series, count in wanted.items()]
    rounds = await bench.rounds(
        {
            "one": lambda: ask_together(table, market, until, one_each * (callers // _SHARED_SERIES)),
            "all": lambda: ask_together(table, market, until, [wanted] * callers),
            "few": lambda: ask_together(table, market, until, one_each),
        },
        count=3,
    )
    for name in ("one", "all"):
        fetches, reads = Source(name, "fetches"), Source(name, "reads")
        seconds, of_few = Source(name, "seconds"), Source("few", "seconds")
        bench.report(f"callers_of_{name}_fetches", "fetches", rounds, fetches, goal=value_at_most(_SHARED_SERIES))
        bench.report(f"callers_of_{name}_reads", "reads", rounds, reads)
        bench.report(f"callers_of_{name}", "s", rounds, seconds, baseline=of_few)


# --- one that hangs


async def _hanging(bench: Bench, table: BarTable) -> None:
    count = 50
    market, until = walks(bench.choose(500, 50), count), close_of(count - 1)
    hangs = next(iter(market))
    rounds = await bench.rounds(
        {
            "one": lambda: ask_beside_one_that_hangs(table, market, until, hangs),
            "none": lambda: ask_beside_one_that_hangs(table, market, until, None),
        },
        count=3,
    )
    seconds, usual = Source("one", "seconds"), Source("none", "seconds")
    bench.report("hanging_ticker", "s", rounds, seconds, baseline=usual, goal=ratio_at_most(1.5))


# --- indicators


async def _indicators(bench: Bench) -> None:
    bench.notes.append(f"indicators: {', '.join(DIRECT)}")
    long, short = bench.choose(100_000, 5_000), _READ_BARS
    many = IndicatorCalls(_one_series(long), bench.choose(30, 3))
    few = IndicatorCalls(_one_series(short), bench.choose(300, 20))
    for calls in (many, few):
        calls.require_same()
    rounds = await bench.rounds({"single": many.one_by_one, "together": many.together, "short": few.one_by_one})
    for name, contender in (("indicators", "single"), ("indicators_together", "together")):
        ours, direct = Source(contender, "ours_us"), Source(contender, "talib_us")
        bench.report(name, "us", rounds, ours, baseline=direct, goal=ratio_at_most(1.1))
    bench.report("indicators_worst", "x TA-Lib", rounds, Source("single", "worst_ratio"))
    overhead, worst = Source("short", "overhead_us"), Source("short", "worst_overhead_us")
    bench.report("indicator_call_overhead", "us", rounds, overhead, goal=value_at_most(20))
    bench.report("indicator_call_overhead_worst", "us", rounds, worst, goal=value_at_most(20))


def _one_series(bars: int) -> Bars:
    (found,) = walks(1, bars).values()
    return found
