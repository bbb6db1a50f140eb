"""Messages: how quickly they are taken in, how quickly they go out, and what becomes of a burst for one chat."""

from __future__ import annotations

from contextlib import AsyncExitStack

from atf.security.scope import Scope
from atf.security.tokens_service import TokensService
from atf.storage.database import Database
from atf.storage.tokens_repository import PostgresTokens
from benchmarks.bench import Bench
from benchmarks.delivering import burst, deliver
from benchmarks.measure import Source, ratio_at_least, ratio_at_most, value_at_least, value_at_most
from benchmarks.notify_load import CONNECTIONS, hand_over, notify_server

_BOTS = 40


async def benchmark(bench: Bench) -> None:
    """Measure ``POST /api/notify``, the delivery engine, and forty bots that speak within one second."""
    async with bench.server() as server, AsyncExitStack() as stack:
        database = await stack.enter_async_context(server.database("notifications"))
        await _notify(bench, database, server.url("notifications"))
        await _deliver(bench, database)
        await _burst(bench, database)


async def _notify(bench: Bench, database: Database, url: str) -> None:
    count = CONNECTIONS * bench.choose(200, 5)
    made = await TokensService(PostgresTokens(database)).add_service_token("bench", [Scope.NOTIFY], 1)
    async with notify_server(url) as stored, notify_server(None) as empty:
        rounds = await bench.rounds(
            {
                "notify": lambda: hand_over(stored, made.token.text, count),
                "nothing": lambda: hand_over(empty, made.token.text, count),
            }
        )
    for quantity, unit, goal in (
        ("per_second", "requests/s", ratio_at_least(0.5)),
        ("p50", "ms", None),
        ("p99", "ms", ratio_at_most(6)),
    ):
        ours, nothing = Source("notify", quantity), Source("nothing", quantity)
        bench.report(f"notify_{quantity}", unit, rounds, ours, baseline=nothing, goal=goal)


async def _deliver(bench: Bench, database: Database) -> None:
    count = bench.options.size or bench.choose(10_000, 500)
    rounds = await bench.rounds({"engine": lambda: deliver(database, count)})
    bench.report("delivered", "messages/s", rounds, Source("engine", "per_second"), goal=value_at_least(2000))


async def _burst(bench: Bench, database: Database) -> None:
    rounds = await bench.rounds({"burst": lambda: burst(database, _BOTS)}, count=3)
    bench.report("burst_lost", "messages", rounds, Source("burst", "lost"), goal=value_at_most(0))
    bench.report("burst_violations", "letters", rounds, Source("burst", "violations"), goal=value_at_most(0))
    bench.report("burst_letters", "letters", rounds, Source("burst", "letters"))
    bench.report("burst_seconds", "s", rounds, Source("burst", "seconds"))
