"""What integration tests put into the database and read from it, past the repositories that they test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Row, text

from atf.jobs.lease import Holder
from atf.jobs.run import WorkerId
from atf.storage.database import Database
from atf.storage.partitions import PostgresPartitions
from atf.storage.workers_repository import PostgresLeases
from atf.testing.clocks import FakeMarketClock

OWNER = 1  # the user that the first migration makes


class Rows:
    """Plain SQL on the test's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, sql: str, **values: Any) -> Sequence[Row[Any]]:
        """The rows of a query."""
        async with self._database.transaction() as connection:
            return (await connection.execute(text(sql), values)).all()

    async def column(self, sql: str, **values: Any) -> list[Any]:
        """The first column of a query."""
        return [row[0] for row in await self.all(sql, **values)]

    async def value(self, sql: str, **values: Any) -> Any:
        """The one value of a query."""
        (row,) = await self.all(sql, **values)
        return row[0]

    async def change(self, sql: str, **values: Any) -> int:
        """Execute a statement; how many rows it touched."""
        async with self._database.transaction() as connection:
            return (await connection.execute(text(sql), values)).rowcount

    async def worker(self, name: str = "worker-1", *, lease: timedelta = timedelta(minutes=1)) -> WorkerId:
        """Register a holder of leases; a negative lease is over already."""
        await PostgresLeases(self._database).register(Holder(WorkerId(name), "host", 1, ("alert",), name), lease)
        return WorkerId(name)

    async def expire(self, worker_id: WorkerId) -> None:
        """End a lease as time would."""
        await self.change(
            "UPDATE workers SET lease_expires_at = now() - interval '1 second' WHERE worker_id = :worker_id",
            worker_id=worker_id,
        )

    async def partitions(self, around: datetime | None = None) -> None:
        """Make the leaves of the run table."""
        await PostgresPartitions(self._database).ensure_ahead(around or datetime.now(UTC))

    async def pending_runs(
        self,
        count: int,
        *,
        job_type: str = "alert",
        retention_class: str = "alert",
        priority: int = 0,
        available_in: timedelta = timedelta(0),
        max_attempts: int = 3,
        first_job_id: int = 1,
    ) -> None:
        """Store due runs of ``count`` jobs that have no schedule."""
        await self.partitions()
        await self.change(
            """
            INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, priority,
                                           available_at, max_attempts, job_snapshot, sort_key)
            SELECT :job_type, n, 1, date_trunc('minute', now()), :retention_class, :priority,
                   now() + CAST(:available_in AS interval), :max_attempts, '{"version": 1}',
                   CASE WHEN CAST(:available_in AS interval) <= interval '0'
                   THEN job_sort_key(now() + CAST(:available_in AS interval), :priority, 0) END
            FROM generate_series(CAST(:first AS bigint), CAST(:first AS bigint) + :count - 1) AS n
            """,
            job_type=job_type,
            retention_class=retention_class,
            priority=priority,
            available_in=available_in,
            max_attempts=max_attempts,
            first=first_job_id,
            count=count,
        )

    async def statuses(self) -> dict[str, int]:
        """How many runs there are of each status."""
        rows = await self.all("SELECT status, count(*) AS runs FROM job_schedule_runs GROUP BY status")
        return {row.status: row.runs for row in rows}

    async def somebody_waits_for_a_lock(self) -> bool:
        """Whether a session of this database is waiting for another one's lock."""
        return bool(
            await self.value(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(database)


@pytest.fixture
def market_clock() -> FakeMarketClock:
    """The present minute, standing still."""
    return FakeMarketClock(datetime.now(UTC).replace(second=0, microsecond=0))


Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def eventually() -> Eventually:
    """Wait until a condition in the database holds."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(10):
            while not await condition():  # noqa: ASYNC110 - the database has no event for it
                await asyncio.sleep(0.005)

    return wait
