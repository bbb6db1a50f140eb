"""The job engine with work that does nothing: draining, ticking, picking up; each beside plain SQL.

The plain SQL is psycopg on the same tables, indexes and partitions, with the same batches and as many commits:
what would be left if ATF's own code cost nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from atf.jobs.run import ClaimedBatch, Completion, JobType
from atf.schedules.tick import Tick
from atf.settings import Settings
from atf.storage.database import Database
from atf.storage.partitions import PostgresPartitions
from atf.storage.runs_repository import PostgresRunQueue, complete_runs
from atf.storage.schedules_repository import PostgresGroups
from atf.testing.clocks import FakeMarketClock
from benchmarks.bench import Bench
from benchmarks.driving import CountingHandler, drain, working
from benchmarks.measure import (
    BenchmarkError,
    Observation,
    Rounds,
    Source,
    percentiles,
    ratio_at_least,
    ratio_at_most,
    value_at_most,
)
from benchmarks.server import BenchServer

BATCH: Final = int(Settings.model_fields["worker_batch_size"].default)
_IDLE_SECONDS: Final = (0.005, 0.015)
_LOOP_STEP_SECONDS: Final = 0.002


async def benchmark(bench: Bench) -> None:
    """Measure drain, drain with history, tick and pick-up."""
    async with bench.server() as server, AsyncExitStack() as stack:
        empty = await Queue.open(server, "empty", stack)
        await _drain(bench, empty)
        await _drain_with_history(bench, empty, await Queue.open(server, "history", stack))
        await _tick(bench, await Schedules.open(server, "schedules", stack))
        await _pick_up(bench, empty)


# --- draining


_PENDING: Final = """
    INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, priority,
                                   max_attempts, job_snapshot)
    SELECT 'report', n, 1, date_trunc('minute', now()), 'other', 0, 3, {snapshot}
    FROM generate_series(1, {count}) AS n
"""
_FINISHED: Final = """
    INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, status, started_at,
                                   finished_at, worker_id, job_snapshot, result)
    SELECT 'report', n, 1, date_trunc('minute', now()) - (1 + n % 60) * interval '1 minute', 'other',
           'COMPLETED', now(), now(), 'history', {snapshot}, '{{}}'
    FROM generate_series({first}, {first} + {count} - 1) AS n
"""
_SNAPSHOT: Final = """
    jsonb_build_object('name', 'no-op ' || n, 'target', 'nothing', 'version', 1, 'task_params',
                       jsonb_build_object('report_type', 'nothing', 'note', repeat('x', 100)))
"""
_HISTORY_FROM: Final = 1_000_000
_RAW_CLAIM: Final = """
    UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = %(worker)s, started_at = now()
    WHERE run_id = ANY(ARRAY(
        SELECT run_id FROM job_schedule_runs
        WHERE status = 'PENDING' AND available_at <= now() AND job_type = 'report'
        ORDER BY priority, available_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
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
    """Completes its runs in one transaction, as the job engine's handlers will."""

    job_type = JobType.REPORT

    def __init__(self, database: Database) -> None:
        self._database = database

    async def handle(self, batch: ClaimedBatch) -> None:
        """Complete a batch without doing anything."""
        async with self._database.transaction() as connection:
            await complete_runs(connection, batch.worker_id, [Completion(run, {}) for run in batch.runs])


@dataclass
class Queue:
    """A run table with ``history`` finished rows, of which the newest lie beside the waiting ones."""

    server: BenchServer
    name: str
    database: Database
    history: int = 0

    @classmethod
    async def open(cls, server: BenchServer, name: str, stack: AsyncExitStack) -> Queue:
        database = await stack.enter_async_context(server.database(name))
        await PostgresPartitions(database).ensure_ahead(datetime.now(UTC))
        return cls(server, name, database)

    async def add_history(self, count: int) -> None:
        """Store finished runs."""
        self.history = count
        insert = _FINISHED.format(snapshot=_SNAPSHOT, first=_HISTORY_FROM, count=count)
        await self.server.execute(self.name, insert)

    async def refill(self, count: int) -> None:
        """Leave ``count`` waiting runs and the history, nothing else, vacuumed and analysed."""
        clear = f"DELETE FROM job_schedule_runs WHERE job_id < {_HISTORY_FROM}"
        await self.server.execute(
            self.name,
            clear if self.history else "TRUNCATE job_schedule_runs",
            "VACUUM job_schedule_runs",  # so that new rows find the room of the last round's
            _PENDING.format(snapshot=_SNAPSHOT, count=count),
        )
        await self.server.settle(self.name)

    async def drain_by_worker(self, count: int) -> Observation:
        """Return runs a second, and milliseconds a batch, of a Worker."""
        await self.refill(count)
        queue = PostgresRunQueue(self.database)
        seconds, batches = await drain(
            self.database, queue, NoOpHandler(self.database), total=count, batch_size=BATCH
        )
        await self._require_completed(count)
        return {"runs_per_second": count / seconds, **_milliseconds(batches)}

    async def drain_by_sql(self, count: int) -> Observation:
        """Return the same of two statements in turns on one connection."""
        await self.refill(count)
        seconds, batches = await asyncio.to_thread(_drain_by_sql, self.server.url(self.name))
        await self._require_completed(count)
        return {"runs_per_second": count / seconds, **_milliseconds(batches)}

    async def _require_completed(self, count: int) -> None:
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM job_schedule_runs WHERE status = 'COMPLETED' AND job_id < %s",
                [_HISTORY_FROM],
            )
            (completed,) = await cursor.fetchone() or (0,)
        if completed != count:
            raise BenchmarkError(f"{completed} of {count} runs were completed")


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
    return connection.execute(_RAW_CLAIM, {"worker": "raw", "limit": BATCH}).fetchall()


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    return {name: value * 1000 for name, value in percentiles(seconds).items()}


async def _drain(bench: Bench, queue: Queue) -> None:
    count = bench.options.size or bench.choose(20_000, 1_500)
    rounds = await bench.rounds(
        {"worker": lambda: queue.drain_by_worker(count), "sql": lambda: queue.drain_by_sql(count)}
    )
    rate = "runs_per_second"
    bench.report(
        "drain_noop",
        "runs/s",
        rounds,
        Source("worker", rate),
        baseline=Source("sql", rate),
        goal=ratio_at_least(0.5),
    )
    _report_percentiles(bench, "drain_noop_batch", rounds, "worker", "sql")


async def _drain_with_history(bench: Bench, empty: Queue, full: Queue) -> None:
    count = bench.options.size or bench.choose(20_000, 1_500)
    await full.add_history(bench.choose(100_000, 3_000))
    rounds = await bench.rounds(
        {"history": lambda: full.drain_by_worker(count), "none": lambda: empty.drain_by_worker(count)}
    )
    rate = "runs_per_second"
    bench.report(
        "drain_with_history",
        "runs/s",
        rounds,
        Source("history", rate),
        baseline=Source("none", rate),
        goal=ratio_at_least(0.9),
    )


def _report_percentiles(bench: Bench, metric: str, rounds: Rounds, ours: str, baseline: str) -> None:
    for name in ("p50", "p95", "p99"):
        bench.report(f"{metric}_{name}", "ms", rounds, Source(ours, name), baseline=Source(baseline, name))


# --- ticking


_CRONS: Final = ("* * * * *", "*/5 * * * *", "*/30 * * * *", "0 * * * *")
_ZONES: Final = ("UTC", "America/New_York", "Asia/Tokyo")
_GROUPS: Final = """
    INSERT INTO schedule_groups (cron, timezone, next_fire_at)
    SELECT cron, timezone, %(instant)s FROM unnest(%(crons)s::text[]) cron, unnest(%(zones)s::text[]) timezone
"""
_SCHEDULES: Final = """
    INSERT INTO job_schedules (user_id, name, job_type, target, task_params, cron, timezone, next_run_at,
                               effective_from, group_id)
    SELECT 1, 'schedule ' || n, 'report', 'nothing', jsonb_build_object('note', repeat('x', 100)), cron, timezone,
           %(instant)s, %(instant)s - interval '1 day', g.id
    FROM schedule_groups g, generate_series(1, %(each)s::int) AS n
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


@dataclass
class Schedules:
    """Schedules of twelve groups that are all due at one full hour."""

    server: BenchServer
    name: str
    database: Database
    instant: datetime

    @classmethod
    async def open(cls, server: BenchServer, name: str, stack: AsyncExitStack) -> Schedules:
        database = await stack.enter_async_context(server.database(name))
        instant = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        await PostgresPartitions(database).ensure_ahead(instant)
        return cls(server, name, database, instant)

    async def fill(self, each: int) -> int:
        """Store so many schedules in each group and return how many there are."""
        values = {"instant": self.instant, "crons": list(_CRONS), "zones": list(_ZONES), "each": each}
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            await connection.execute(_GROUPS, values)
            return (await connection.execute(_SCHEDULES, values)).rowcount

    async def rewind(self) -> None:
        """Make everything due again."""
        due = f"'{self.instant.isoformat()}'"
        await self.server.execute(
            self.name,
            "TRUNCATE job_schedule_runs",
            f"UPDATE job_schedules SET next_run_at = {due}",
            f"UPDATE schedule_groups SET next_fire_at = {due}",
        )
        await self.server.settle(self.name)

    async def tick(self, count: int) -> Observation:
        """Return seconds until all runs are stored, and how long the loop did not get its turn, in ms."""
        await self.rewind()
        tick = Tick(PostgresGroups(self.database, is_replay=False), FakeMarketClock(self.instant))
        watch = asyncio.create_task(_longest_wait())
        await asyncio.sleep(0)
        begin = time.perf_counter()
        created = await tick.fire_due()
        seconds = time.perf_counter() - begin
        await asyncio.sleep(2 * _LOOP_STEP_SECONDS)
        watch.cancel()
        if created != count:
            raise BenchmarkError(f"{created} of {count} runs were made")
        return {"seconds": seconds, "blocked_ms": await watch * 1000}

    async def insert_by_sql(self, count: int) -> Observation:
        """Return seconds of the same rows by one INSERT and one UPDATE in one transaction."""
        await self.rewind()
        values = {"instant": self.instant, "next": self.instant + timedelta(minutes=1)}
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            begin = time.perf_counter()
            created = (await connection.execute(_RAW_FIRE, values)).rowcount
            await connection.execute(_RAW_ADVANCE, values)
            await connection.commit()
            seconds = time.perf_counter() - begin
        if created != count:
            raise BenchmarkError(f"{created} of {count} rows were made by plain SQL")
        return {"seconds": seconds}


async def _longest_wait() -> float:
    """Return, when cancelled, the longest that the loop kept this task waiting, in seconds."""
    longest, before = 0.0, time.perf_counter()
    try:
        while True:
            await asyncio.sleep(_LOOP_STEP_SECONDS)
            now = time.perf_counter()
            longest, before = max(longest, now - before - _LOOP_STEP_SECONDS), now
    except asyncio.CancelledError:
        return longest


async def _tick(bench: Bench, schedules: Schedules) -> None:
    wanted = bench.options.size or bench.choose(24_000, 1_200)
    count = await schedules.fill(max(1, wanted // (len(_CRONS) * len(_ZONES))))
    rounds = await bench.rounds(
        {"tick": lambda: schedules.tick(count), "sql": lambda: schedules.insert_by_sql(count)}
    )
    bench.report(
        "tick",
        "s",
        rounds,
        Source("tick", "seconds"),
        baseline=Source("sql", "seconds"),
        goal=ratio_at_most(2),
    )
    bench.report("tick_loop_blocked", "ms", rounds, Source("tick", "blocked_ms"), goal=value_at_most(100))


# --- picking up


_ONE_RUN: Final = """
    INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, max_attempts,
                                   job_snapshot)
    VALUES ('report', %(job)s, 1, date_trunc('minute', now()), 'other', 3, '{"version": 1}')
"""
_NOTIFY: Final = "SELECT pg_notify('atf_runs', '')"
_JITTER: Final = random.Random(1)


class PromptHandler(NoOpHandler):
    """Notes when each run's work began, before anything else is done."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.begun_at = 0.0

    async def handle(self, batch: ClaimedBatch) -> None:
        """Note the time, then complete the batch."""
        self.begun_at = time.perf_counter()
        await super().handle(batch)


async def pick_up_by_worker(queue: Queue, count: int) -> Observation:
    """Return the latencies of an idle Worker in milliseconds."""
    await queue.refill(0)
    prompt = PromptHandler(queue.database)
    latencies = []
    runs = PostgresRunQueue(queue.database)
    counting = CountingHandler(prompt, 1)
    async with (
        working(queue.database, runs, counting, BATCH),
        await psycopg.AsyncConnection.connect(queue.server.url(queue.name)) as sender,
    ):
        await asyncio.sleep(0.2)  # the worker has its lease and has found nothing
        for job in range(1, count + 1):
            counting.all_done.clear()
            sent_at = await _send(sender, job)
            async with asyncio.timeout(10):
                await counting.all_done.wait()
            latencies.append(prompt.begun_at - sent_at)
            await asyncio.sleep(_JITTER.uniform(*_IDLE_SECONDS))
    return _milliseconds(latencies)


async def pick_up_by_sql(queue: Queue, count: int) -> Observation:
    """Return the latencies of LISTEN and one claiming statement, on connections of their own."""
    await queue.refill(0)
    url = queue.server.url(queue.name)
    latencies: list[float] = []
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as listener,
        await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0) as claimer,
        await psycopg.AsyncConnection.connect(url) as sender,
    ):
        await listener.execute("LISTEN atf_runs")
        for job in range(1, count + 1):
            claiming = asyncio.create_task(_claim_when_told(listener, claimer))
            await asyncio.sleep(_JITTER.uniform(*_IDLE_SECONDS))
            sent_at = await _send(sender, job)
            latencies.append(await claiming - sent_at)
    return _milliseconds(latencies)


async def _send(sender: psycopg.AsyncConnection, job: int) -> float:
    """Store and announce one run as a tick does; return when its commit was asked for, fsync included."""
    await sender.execute(_ONE_RUN, {"job": job})
    await sender.execute(_NOTIFY)
    sent_at = time.perf_counter()
    await sender.commit()
    return sent_at


async def _claim_when_told(listener: psycopg.AsyncConnection, claimer: psycopg.AsyncConnection) -> float:
    async for _ in listener.notifies(timeout=10, stop_after=1):
        rows = await (await claimer.execute(_RAW_CLAIM, {"worker": "raw", "limit": BATCH})).fetchall()
        if len(rows) == 1:
            return time.perf_counter()
    raise BenchmarkError("a notification or its run did not arrive")


async def _pick_up(bench: Bench, queue: Queue) -> None:
    count = bench.choose(150, 20)
    rounds = await bench.rounds(
        {"worker": lambda: pick_up_by_worker(queue, count), "sql": lambda: pick_up_by_sql(queue, count)}
    )
    for name, goal in (("p50", value_at_most(5)), ("p95", value_at_most(10)), ("p99", None)):
        worker, sql = Source("worker", name), Source("sql", name)
        bench.report(f"pick_up_{name}", "ms", rounds, worker, baseline=sql, goal=goal)
