"""Other job queues on PostgreSQL with the same jobs that do nothing, each in the best setting that was found.

They are no dependency of ATF: the dependency group ``bench`` has them. Without it the benchmarks say so and go
on.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from typing import Final

import psycopg

from benchmarks.bench import Bench
from benchmarks.measure import BenchmarkError, Observation
from benchmarks.server import BenchServer

Peer = Callable[[BenchServer, str, int], Awaitable[Observation]]
"""Empties the database's queue, enqueues so many jobs untimed, drains them and returns runs_per_second."""

# The best of 100, 200, 500 and 1000; on a pool, as one connection is slower.
_PGQUEUER_BATCH: Final = 500
_PGQUEUER_CONNECTIONS: Final = 5
_PROCRASTINATE_CONCURRENCY: Final = 20
_PROCRASTINATE_BULK: Final = 1000


async def install(server: BenchServer, name: str, peer: str) -> None:
    """Make the tables of a peer in an empty database."""
    await {"pgqueuer": _install_pgqueuer, "procrastinate": _install_procrastinate}[peer](server.url(name))


async def drain_by_pgqueuer(server: BenchServer, name: str, count: int) -> Observation:
    """Return the rate of one QueueManager on asyncpg, until its queue is empty and its buffers are written."""
    import asyncpg
    from pgqueuer.db import AsyncpgPoolDriver
    from pgqueuer.models import Job
    from pgqueuer.qm import QueueManager
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    async with asyncpg.create_pool(server.url(name), min_size=2, max_size=_PGQUEUER_CONNECTIONS) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        await server.execute(name, "TRUNCATE pgqueuer, pgqueuer_log")
        await queries.enqueue(["nothing"] * count, [None] * count, [0] * count)
        await server.settle(name)
        done = 0

        async def nothing(_: Job) -> None:
            nonlocal done
            done += 1

        manager = QueueManager(queries)
        manager.entrypoint("nothing")(nothing)
        begin = time.perf_counter()
        await manager.run(batch_size=_PGQUEUER_BATCH, mode=QueueExecutionMode.drain)
        seconds = time.perf_counter() - begin
    await _require_none(server, name, "SELECT count(*) FROM pgqueuer")
    if done != count:
        raise BenchmarkError(f"pgqueuer did {done} of {count} jobs")
    return {"runs_per_second": count / seconds}


async def drain_by_procrastinate(server: BenchServer, name: str, count: int) -> Observation:
    """Return the rate of one worker with 20 jobs at a time on a pool of as many connections."""
    from procrastinate import App, PsycopgConnector

    size = _PROCRASTINATE_CONCURRENCY
    app = App(connector=PsycopgConnector(conninfo=server.url(name), min_size=size, max_size=size))

    async def nothing() -> None:
        return

    task = app.task(name="nothing")(nothing)
    async with app.open_async():
        await server.execute(name, "TRUNCATE procrastinate_jobs CASCADE")
        for first in range(0, count, _PROCRASTINATE_BULK):
            jobs = min(_PROCRASTINATE_BULK, count - first)
            await task.batch_defer_async(*({} for _ in range(jobs)))
        await server.settle(name)
        begin = time.perf_counter()
        await app.run_worker_async(concurrency=size, wait=False, install_signal_handlers=False)
        seconds = time.perf_counter() - begin
    await _require_none(server, name, "SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'")
    return {"runs_per_second": count / seconds}


async def _install_pgqueuer(url: str) -> None:
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    connection = await asyncpg.connect(url)
    try:
        await Queries(AsyncpgDriver(connection)).install()
    finally:
        await connection.close()


async def _install_procrastinate(url: str) -> None:
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=2))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def _require_none(server: BenchServer, name: str, query: str) -> None:
    async with await psycopg.AsyncConnection.connect(server.url(name)) as connection:
        (left,) = await (await connection.execute(query.encode())).fetchone() or (0,)
    if left:
        raise BenchmarkError(f"{left} jobs were left")


_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "pgqueuer": ("pgqueuer", "asyncpg"),
    "procrastinate": ("procrastinate",),
}
PEERS: Final[Mapping[str, Peer]] = {"pgqueuer": drain_by_pgqueuer, "procrastinate": drain_by_procrastinate}


def installed_peers() -> Mapping[str, Peer]:
    """Return the peers whose packages are there."""
    return {name: peer for name, peer in PEERS.items() if all(find_spec(part) for part in _NEEDS[name])}


def compared_peers(bench: Bench) -> Mapping[str, Peer]:
    """Return the peers to measure; note those that cannot be."""
    peers = installed_peers()
    for name in PEERS:
        if name not in peers:
            bench.notes.append(f"not compared with {name}: it is not installed (dependency group bench)")
    return peers
