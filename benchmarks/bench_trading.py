"""Trading: how soon bots are live, and how long a bar takes to become an order at the venue, committed before."""

from __future__ import annotations

import asyncio
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


async def benchmark(bench: Bench) -> None:
    """Measure one bot alone, and many at the same instant."""
    many, bars = bench.options.size or bench.choose(100, 3), bench.choose(200, 4)
    async with bench.server() as server:
        rounds = await bench.rounds(
            {
                "one": lambda: _run(server, 1, bars),
                "many": lambda: _run(server, many, bench.choose(30, 3)),
            },
            count=3,
        )
    bench.report("bots_live", "s", rounds, Source("many", "live"), goal=value_at_most(5))
    bench.report("bots_live_again", "s", rounds, Source("many", "again"), goal=value_at_most(10))
    bench.report("order_of_one_p50", "ms", rounds, Source("one", "p50"), goal=value_at_most(8))
    bench.report("order_of_one_p99", "ms", rounds, Source("one", "p99"))
    bench.report("orders_at_once_p50", "ms", rounds, Source("many", "p50"), goal=value_at_most(60))
    bench.report("orders_at_once_p99", "ms", rounds, Source("many", "p99"), goal=value_at_most(150))
    bench.notes.append(f"{many} bots at once; from the bar's arrival to the call of the venue")


async def _run(server: BenchServer, bots: int, bars: int) -> Observation:
    files = {"every_bar.py": EVERY_BAR}
    async with server.database(f"trading_{next(_NUMBERS)}") as database, strategy_folder(files) as folder:
        floor, processes = TradingFloor(database, folder), ForkedBots()
        await floor.add_bots(bots, "bot")
        begin = time.perf_counter()
        manager = await floor.started(processes)
        live = time.perf_counter() - begin
        latencies = [one for bar in range(1, bars + 1) for one in await _bar(floor, bots, bar)]
        await manager.abandon()
        await processes.close()
        begin = time.perf_counter()
        manager = await floor.started(ForkedBots())
        again = time.perf_counter() - begin
        if manager.running != bots:
            raise BenchmarkError(f"{manager.running} of {bots} bots run")
        await manager.shutdown()
        await _require_all(database, bots * bars)
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
    latencies = [at - begin for (at,) in arrivals.values()]
    await floor.venue.told()  # the fills are booked before the next bar, as at a real one,
    await asyncio.sleep(0.2)  # and strategies have heard of them
    return latencies


async def _require_all(database: Database, orders: int) -> None:
    async with database.transaction() as connection:
        query = text("SELECT count(*) FROM trading_orders WHERE status = 'filled'")
        found = (await connection.execute(query)).scalar_one()
    if found != orders:
        raise BenchmarkError(f"{found} of {orders} orders are filled")
