"""Trading: how soon bots are live, and how long a bar takes to become an order at the venue, committed before.

Bars follow each other as soon as what the last one did is booked. Real bars come after a rest, which on some
virtual machines makes memory slow: the same is measured so, too, beside what a rest makes of memory alone.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from itertools import count
from typing import Final

from sqlalchemy import text

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.storage.database import Database
from benchmarks.bench import Bench
from benchmarks.measure import BenchmarkError, Observation, Source, value_at_most
from benchmarks.server import BenchServer
from benchmarks.trading_floor import EVERY_BAR, TradingFloor, strategy_folder

_NUMBERS: Final = count()
_REST_SECONDS: Final = 0.2


async def benchmark(bench: Bench) -> None:
    """Measure one bot alone, and many at the same instant."""
    many, bars = bench.options.size or bench.choose(100, 3), bench.choose(200, 4)
    async with bench.server() as server:
        rounds = await bench.rounds(
            {
                "one": lambda: _run(server, 1, bars),
                "rested": lambda: _run(server, 1, bench.choose(50, 3), _REST_SECONDS),
                "memory": _memory,
                "many": lambda: _run(server, many, bench.choose(30, 3)),
            },
            count=3,
        )
    bench.report("bots_live", "s", rounds, Source("many", "live"), goal=value_at_most(5))
    bench.report("bots_live_again", "s", rounds, Source("many", "again"), goal=value_at_most(10))
    bench.report("order_of_one_p50", "ms", rounds, Source("one", "p50"), goal=value_at_most(8))
    bench.report("order_of_one_p99", "ms", rounds, Source("one", "p99"))
    bench.report("order_after_rest_p50", "ms", rounds, Source("rested", "p50"))
    bench.report("memory_after_rest", "x", rounds, Source("memory", "slower"))
    bench.report("orders_at_once_p50", "ms", rounds, Source("many", "p50"), goal=value_at_most(60))
    bench.report("orders_at_once_p99", "ms", rounds, Source("many", "p99"), goal=value_at_most(150))
    bench.notes.append(f"{many} bots at once; from the bar's arrival to the call of the venue")
    bench.notes.append(f"after a rest of {_REST_SECONDS} s; memory: objects far apart, against no rest")


async def _memory() -> Observation:
    """Return how many times as long it takes to look at objects that nobody has looked at for a moment."""
    objects = [(number, str(number)) for number in range(400_000)]
    some = [objects[number] for number in random.Random(1).sample(range(len(objects)), 3_000)]

    def look() -> float:
        begin = time.perf_counter()
        sum(one[0] for one in some)
        return time.perf_counter() - begin

    at_once = statistics.median(look() for _ in range(20))
    rested = []
    for _ in range(10):
        await asyncio.sleep(_REST_SECONDS)
        rested.append(look())
    return {"slower": statistics.median(rested) / at_once}


async def _run(server: BenchServer, bots: int, bars: int, rest: float = 0) -> Observation:
    files = {"every_bar.py": EVERY_BAR}
    async with server.database(f"trading_{next(_NUMBERS)}") as database, strategy_folder(files) as folder:
        floor, processes = TradingFloor(database, folder), ForkedBots()
        await floor.add_bots(bots, "bot")
        begin = time.perf_counter()
        manager = await floor.started(processes)
        live = time.perf_counter() - begin
        latencies = []
        for bar in range(1, bars + 1):
            latencies += await _bar(floor, bots, bar)
            await _until_booked(floor, bots * bar)
            await asyncio.sleep(rest)
        await manager.abandon()
        await processes.close()
        begin = time.perf_counter()
        manager = await floor.started(ForkedBots())
        again = time.perf_counter() - begin
        if manager.running != bots:
            raise BenchmarkError(f"{manager.running} of {bots} bots run")
        await manager.shutdown()
        if (booked := await _booked(database)) != bots * bars:
            raise BenchmarkError(f"{booked} of {bots * bars} orders are filled")
        latencies.sort()
        return {
            "live": live,
            "again": again,
            "p50": latencies[len(latencies) // 2] * 1000,
            "p99": latencies[len(latencies) * 99 // 100] * 1000,
        }


async def _bar(floor: TradingFloor, bots: int, number: int) -> list[float]:
    """Return for each bot how long its order took."""
    arrivals = floor.venue.arrivals
    arrivals.clear()
    begin = time.perf_counter()
    floor.feed.push(number)
    async with asyncio.timeout(30):
        while len(arrivals) < bots:  # noqa: ASYNC110 - a signal for each would be measured, too
            await asyncio.sleep(0.002)
    return [at - begin for (at,) in arrivals.values()]


async def _until_booked(floor: TradingFloor, orders: int) -> None:
    """Return when the fills of so many orders are booked, as they are before the next bar of a real market."""
    async with asyncio.timeout(30):
        while await _booked(floor.database) < orders:  # noqa: ASYNC110 - another process's rows ring no bell
            await asyncio.sleep(0.005)


async def _booked(database: Database) -> int:
    async with database.transaction() as connection:
        query = text("SELECT count(*) FROM trading_orders WHERE status = 'filled'")
        return int((await connection.execute(query)).scalar_one())
