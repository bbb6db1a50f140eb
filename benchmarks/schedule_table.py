"""Schedules as the benchmarks of the tick store them, and the plain SQL that a tick is compared with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from atf.schedules.tick import Tick
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups
from atf.storage.partitions import PostgresPartitions
from benchmarks.measure import BenchmarkError, Observation
from benchmarks.server import BenchServer

LATE: Final = timedelta(seconds=0.2)
"""How long after the due instant a tick begins: what a timer, a connection and a loaded machine take."""
_LOOP_STEP_SECONDS: Final = 0.002

_GROUPS: Final = """
    INSERT INTO schedule_groups (cron, timezone, next_fire_at)
    SELECT * FROM unnest(%(crons)s::text[], %(zones)s::text[], %(instants)s::timestamptz[])
"""
_SCHEDULES: Final = """
    INSERT INTO job_schedules (user_id, name, job_type, target, task_params, cron, timezone, next_run_at,
                               effective_from, group_id, misfire_policy, misfire_grace_seconds)
    SELECT 1, 'schedule ' || n, 'report', 'daily_summary', jsonb_build_object('note', repeat('x', 100)),
           cron, timezone, next_fire_at, next_fire_at - interval '1 day', g.id, %(policy)s, %(grace)s
    FROM schedule_groups g, generate_series(1, %(each)s::int) AS n
"""
_MOVE_ONE: Final = """
    UPDATE job_schedules
    SET next_run_at = g.next_fire_at, effective_from = g.next_fire_at, cron = g.cron, group_id = g.id
    FROM schedule_groups g
    WHERE g.cron = %(cron)s AND job_schedules.id = (SELECT min(id) FROM job_schedules)
"""
_RAW_FIRE: Final = """
    INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, priority,
                                   max_attempts, job_snapshot)
    SELECT job_type, id, user_id, %(instant)s, 'other', priority, 3,
           jsonb_build_object('name', name, 'target', target, 'version', version, 'task_params', task_params)
    FROM job_schedules WHERE enabled AND deleted_at IS NULL
    ON CONFLICT DO NOTHING
"""
_RAW_ADVANCE: Final = "UPDATE job_schedules SET next_run_at = %(next)s WHERE enabled AND deleted_at IS NULL"


@dataclass(frozen=True, slots=True)
class Group:
    """When the schedules of a group are due, and when next."""

    cron: str
    timezone: str
    next_fire_at: datetime


@dataclass(frozen=True, slots=True)
class MovingClock:
    """Market time that went by as real time does since it was made, from an instant on."""

    begin: datetime
    is_replay: bool = False
    made_at: float = field(default_factory=time.perf_counter)

    async def now(self) -> datetime:
        """Return the instant."""
        return self.begin + timedelta(seconds=time.perf_counter() - self.made_at)

    async def step(self) -> bool:
        """Return False: it moves by itself."""
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        """Return the instant itself."""
        return instant


@dataclass
class ScheduleTable:
    """Groups, and as many schedules in each."""

    server: BenchServer
    name: str
    database: Database

    @classmethod
    async def open(cls, server: BenchServer, name: str, stack: AsyncExitStack) -> ScheduleTable:
        database = await stack.enter_async_context(server.database(name))
        await PostgresPartitions(database).ensure_ahead(datetime.now(UTC))
        return cls(server, name, database)

    async def fill(
        self, groups: Sequence[Group], each: int, *, policy: str = "run_once", grace_seconds: int = 30
    ) -> int:
        """Store groups with so many schedules each, in place of what there is; return how many there are."""
        await self.server.execute(self.name, "TRUNCATE job_schedule_runs, job_schedules, schedule_groups CASCADE")
        values = {
            "crons": [group.cron for group in groups],
            "zones": [group.timezone for group in groups],
            "instants": [group.next_fire_at for group in groups],
            "each": each,
            "policy": policy,
            "grace": grace_seconds,
        }
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            await connection.execute(_GROUPS, values)
            stored = (await connection.execute(_SCHEDULES, values)).rowcount
        await self.server.settle(self.name)
        return stored

    async def rewind(self, due: datetime) -> None:
        """Make everything due again."""
        instant = f"'{due.isoformat()}'"
        await self.server.execute(
            self.name,
            "TRUNCATE job_schedule_runs, job_misfires",
            f"UPDATE job_schedules SET next_run_at = {instant}",
            f"UPDATE schedule_groups SET next_fire_at = {instant}",
        )
        await self.server.settle(self.name)

    async def make_one_due(self, instant: datetime) -> None:
        """Let a new group with one schedule be due at an instant, and not again this year."""
        cron = "59 23 29 2 *"
        values = {"crons": [cron], "zones": ["UTC"], "instants": [instant], "cron": cron}
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            await connection.execute(_GROUPS, values)
            await connection.execute(_MOVE_ONE, values)

    async def tick(self, count: int, due: datetime) -> Observation:
        """Return seconds until all runs are stored, how many were missed, and how long the loop stood, in ms."""
        await self.rewind(due)
        tick = Tick(PostgresGroups(self.database, is_replay=False), MovingClock(due + LATE))
        async with loop_watch() as watch:
            begin = time.perf_counter()
            created = await tick.fire_due()
            seconds = time.perf_counter() - begin
        return {"seconds": seconds, "missed": count - created + tick.missed, "blocked_ms": watch.longest * 1000}

    async def insert_by_sql(self, count: int, due: datetime) -> Observation:
        """Return seconds of the same rows by one INSERT and one UPDATE in one transaction."""
        await self.rewind(due)
        values = {"instant": due, "next": due + timedelta(minutes=1)}
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            begin = time.perf_counter()
            created = (await connection.execute(_RAW_FIRE, values)).rowcount
            await connection.execute(_RAW_ADVANCE, values)
            await connection.commit()
            seconds = time.perf_counter() - begin
        if created != count:
            raise BenchmarkError(f"{created} of {count} rows were made by plain SQL")
        return {"seconds": seconds}

    async def count_runs(self) -> int:
        """Return how many runs are stored."""
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            (count,) = await (await connection.execute("SELECT count(*) FROM job_schedule_runs")).fetchone() or (
                0,
            )
        return int(count)


@dataclass
class LoopWatch:
    """The longest that the event loop did not give a task its turn, in seconds."""

    longest: float = 0.0

    async def run(self) -> None:
        """Look until cancelled."""
        before = time.perf_counter()
        while True:
            await asyncio.sleep(_LOOP_STEP_SECONDS)
            now = time.perf_counter()
            self.longest, before = max(self.longest, now - before - _LOOP_STEP_SECONDS), now


@asynccontextmanager
async def loop_watch() -> AsyncIterator[LoopWatch]:
    """Watch the loop as long as this lasts."""
    watch = LoopWatch()
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    try:
        yield watch
        await asyncio.sleep(2 * _LOOP_STEP_SECONDS)
    finally:
        task.cancel()
