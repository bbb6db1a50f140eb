"""Retention: millions of rows of history go by dropping partitions."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from atf.clock import SystemClock
from atf.jobs.chores.cleaner import Cleaner
from atf.storage.database import Database
from atf.storage.partitions import Partition, PostgresPartitions, make_missing, partitions_between
from atf.storage.retention import PostgresRetention
from benchmarks.bench import Bench
from benchmarks.measure import BenchmarkError, Observation, Source, value_at_most
from benchmarks.server import BenchServer

_DAYS: Final = 10
_NEWEST_DAY: Final = timedelta(days=3)
"""Alert runs are kept for a day, so all of a leaf that ended two days ago has expired."""

# Ids in order: a random one costs half the time of filling, and dropping does not look at it.
_FINISHED: Final = """
    INSERT INTO job_schedule_runs (run_id, job_type, job_id, user_id, scheduled_for, retention_class, status,
                                   started_at, finished_at, worker_id)
    SELECT lpad(to_hex({first} + n), 32, '0')::uuid, 'alert', n, 1,
           '{begin}'::timestamptz + n % 1440 * interval '1 minute', 'alert', 'COMPLETED', '{begin}', '{begin}',
           'history'
    FROM generate_series(1, {count}) AS n
"""


async def benchmark(bench: Bench) -> None:
    """Measure the cleaner on ten expired days. Filling them takes minutes, so one round must do."""
    count = bench.options.size or bench.choose(10_000_000, 20_000)
    async with bench.server() as server, AsyncExitStack() as stack:
        history = await History.open(server, "history", stack)
        rounds = await bench.rounds({"cleaner": lambda: history.drop_by_cleaner(count)}, count=1)
        bench.report("drop_history", "s", rounds, Source("cleaner", "seconds"), goal=value_at_most(1))
        bench.notes.append(f"{count:,} rows in {_DAYS} partitions were dropped")


@dataclass
class History:
    """Finished alert runs of ten days that have expired."""

    server: BenchServer
    name: str
    database: Database

    @classmethod
    async def open(cls, server: BenchServer, name: str, stack: AsyncExitStack) -> History:
        database = await stack.enter_async_context(server.database(name))
        await PostgresPartitions(database).ensure_ahead(datetime.now(UTC))
        return cls(server, name, database)

    async def fill(self, count: int) -> None:
        """Store so many rows, as many a day."""
        begin = datetime.now(UTC) - _NEWEST_DAY - timedelta(days=_DAYS - 1)
        leaves = list(partitions_between("alert", begin, datetime.now(UTC) - _NEWEST_DAY))
        async with self.database.transaction() as connection:
            await make_missing(connection, leaves)
        a_day = count // len(leaves)
        for number, leaf in enumerate(leaves):
            await self.server.execute(self.name, _filled(leaf, number * a_day, a_day))
        await self.server.settle(self.name)

    async def drop_by_cleaner(self, count: int) -> Observation:
        """Return the seconds of the whole chore."""
        await self.fill(count)
        cleaner = Cleaner(PostgresRetention(self.database), SystemClock())
        begin = time.perf_counter()
        dropped = await cleaner.run_once()
        seconds = time.perf_counter() - begin
        if len(dropped) < _DAYS or await self._rows_left():
            raise BenchmarkError(f"only {len(dropped)} of {_DAYS} partitions were dropped")
        return {"seconds": seconds}

    async def _rows_left(self) -> int:
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            (count,) = await (await connection.execute("SELECT count(*) FROM job_schedule_runs")).fetchone() or (
                0,
            )
        return int(count)


def _filled(leaf: Partition, first: int, count: int) -> str:
    return _FINISHED.format(first=first, begin=leaf.begin.isoformat(), count=count)
