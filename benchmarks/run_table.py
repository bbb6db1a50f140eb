"""The run table as the job benchmarks fill and empty it, and the plain SQL that a worker is compared with.

The plain SQL is psycopg on the same tables, indexes and partitions, with the same batches and as many commits:
what would be left if ATF's own code cost nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from atf.jobs.handler import Job
from atf.jobs.job_type import JobTypeDefinition
from atf.jobs.worker import Duty
from atf.settings import Settings
from atf.storage.database import Database
from atf.storage.partitions import PostgresPartitions
from benchmarks.driving import Count, CountingQueue, drain, job_type, run_queue
from benchmarks.measure import BenchmarkError, Observation, percentiles
from benchmarks.server import BenchServer

BATCH: Final = int(Settings.model_fields["worker_batch_size"].default)
RATE: Final = "runs_per_second"
_HISTORY_FROM: Final = 10_000_000

_SNAPSHOT: Final = """
    jsonb_build_object('name', 'no-op ' || n, 'target', 'daily_summary', 'version', 1, 'task_params',
                       jsonb_build_object('report_type', 'daily_summary', 'parameters',
                                          jsonb_build_object('note', repeat('x', 80))))
"""
_PENDING: Final = f"""
    INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, priority,
                                   max_attempts, job_snapshot)
    SELECT 'report', 1 + n % {{jobs}}, 1 + n % 50,
           date_trunc('minute', now()) - n / {{jobs}} * interval '1 microsecond', 'other', 0, 3, {_SNAPSHOT}
    FROM generate_series(0, {{count}} - 1) AS n
"""
_FINISHED: Final = f"""
    INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, status, started_at,
                                   finished_at, worker_id, job_snapshot, result)
    SELECT 'report', n, 1, date_trunc('minute', now()) - (1 + n % 60) * interval '1 minute', 'other',
           'COMPLETED', now(), now(), 'history', {_SNAPSHOT}, '{{{{}}}}'
    FROM generate_series({_HISTORY_FROM}, {_HISTORY_FROM} + {{count}} - 1) AS n
"""
_SCHEDULES: Final = """
    INSERT INTO users (id, name, role) OVERRIDING SYSTEM VALUE
    SELECT n, 'trader ' || n, 'trader' FROM generate_series(1, 50) AS n ON CONFLICT DO NOTHING;
    INSERT INTO schedule_groups (id, cron, timezone) OVERRIDING SYSTEM VALUE VALUES (1, '0 0 29 2 *', 'UTC');
    INSERT INTO job_schedules (id, user_id, name, job_type, target, cron, effective_from, group_id)
    OVERRIDING SYSTEM VALUE
    SELECT n, 1 + n % 50, 'no-op ' || n, 'report', 'daily_summary', '0 0 29 2 *', now(), 1
    FROM generate_series(1, {count}) AS n
"""
RAW_CLAIM: Final = """
    UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = %(worker)s, started_at = now()
    WHERE run_id = ANY(ARRAY(
        SELECT run_id FROM job_schedule_runs
        WHERE status = 'PENDING' AND sort_key IS NOT NULL AND available_at <= now() AND job_type = 'report'
        ORDER BY sort_key, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING retention_class, scheduled_for, id, attempt
"""
# Fenced by worker and attempt: with the status as a plain column the planner takes the index of running rows.
_RAW_COMPLETE: Final = """
    UPDATE job_schedule_runs r SET status = 'COMPLETED', finished_at = now(), result = '{}'
    FROM unnest(%(classes)s::text[], %(instants)s::timestamptz[], %(ids)s::bigint[], %(attempts)s::int[])
         AS k(retention_class, scheduled_for, id, attempt)
    WHERE r.retention_class = k.retention_class AND r.scheduled_for = k.scheduled_for AND r.id = k.id
      AND r.worker_id = %(worker)s AND r.attempt = k.attempt
"""


class NoOpHandler:
    """Does nothing, through everything that the engine does for every run."""

    job_type = "report"

    async def handle(self, job: Job) -> Mapping[str, Any]:
        """Return an empty result."""
        return {}


@dataclass
class RunTable:
    """A run table with ``history`` finished rows, of which the newest lie beside the waiting ones.

    ``jobs``: how many schedules the waiting runs belong to.
    """

    server: BenchServer
    name: str
    database: Database
    history: int = 0
    jobs: int = _HISTORY_FROM

    @classmethod
    async def open(cls, server: BenchServer, name: str, stack: AsyncExitStack) -> RunTable:
        database = await stack.enter_async_context(server.database(name))
        await PostgresPartitions(database).ensure_ahead(datetime.now(UTC))
        return cls(server, name, database)

    async def add_history(self, count: int) -> None:
        """Store finished runs."""
        self.history = count
        await self.server.execute(self.name, _FINISHED.format(count=count))

    async def add_schedules(self, count: int) -> None:
        """Store schedules for the runs to belong to, of 50 users."""
        self.jobs = count
        await self.server.execute(self.name, *_SCHEDULES.format(count=count).split(";"))

    async def refill(self, count: int) -> None:
        """Leave ``count`` waiting runs and the history, nothing else, vacuumed and analysed."""
        clear = f"DELETE FROM job_schedule_runs WHERE job_id < {_HISTORY_FROM}"
        await self.server.execute(
            self.name,
            clear if self.history else "TRUNCATE job_schedule_runs",
            "VACUUM job_schedule_runs",  # so that new rows find the room of the last round's
            _PENDING.format(count=count, jobs=self.jobs),
        )
        await self.server.settle(self.name)

    async def drain_by_worker(self, count: int, definition: JobTypeDefinition | None = None) -> Observation:
        """Return runs a second, and milliseconds a batch, of a Worker."""
        await self.refill(count)
        counted = Count(count)
        duty = Duty(definition or job_type("report"), NoOpHandler())
        async with run_queue(self.database) as queue:
            counting = CountingQueue(queue, counted)
            seconds, batches = await drain(self.database, counting, duty, counted, batch_size=BATCH)
        await self.require_completed(count)
        return {RATE: count / seconds, **milliseconds(batches)}

    async def drain_by_sql(self, count: int) -> Observation:
        """Return the same of two statements in turns on one connection."""
        await self.refill(count)
        seconds, batches = await asyncio.to_thread(_drain_by_sql, self.server.url(self.name))
        await self.require_completed(count)
        return {RATE: count / seconds, **milliseconds(batches)}

    async def require_completed(self, count: int) -> None:
        """Errors: BenchmarkError unless so many runs have been completed."""
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM job_schedule_runs WHERE status = 'COMPLETED' AND job_id < %s",
                [_HISTORY_FROM],
            )
            (completed,) = await cursor.fetchone() or (0,)
        if completed != count:
            raise BenchmarkError(f"{completed} of {count} runs were completed")


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Return percentiles in milliseconds."""
    return {name: value * 1000 for name, value in percentiles(seconds).items()}


def _drain_by_sql(url: str) -> tuple[float, list[float]]:
    batches = []
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute("SELECT 1")
        begin = before = time.perf_counter()
        while rows := _claim_by_sql(connection):
            classes, instants, ids, attempts = (list(column) for column in zip(*rows, strict=True))
            keys = {"classes": classes, "instants": instants, "ids": ids, "attempts": attempts}
            connection.execute(_RAW_COMPLETE, {"worker": "raw", **keys})
            after = time.perf_counter()
            batches.append(after - before)
            before = after
    return before - begin, batches


def _claim_by_sql(connection: psycopg.Connection) -> Sequence[tuple[Any, ...]]:
    return connection.execute(RAW_CLAIM, {"worker": "raw", "limit": BATCH}).fetchall()
