"""How soon an idle worker begins a run that has just been stored, and how soon plain LISTEN and one claim do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import psycopg

from atf.jobs.handler import Job
from atf.jobs.queue import Outcomes, RunQueue
from atf.jobs.run import ClaimedBatch, Completion
from atf.jobs.worker import Duty
from atf.storage.run_queue import PostgresRunQueue
from benchmarks.driving import Count, CountingQueue, job_type, working
from benchmarks.measure import BenchmarkError, Observation
from benchmarks.run_table import BATCH, RAW_CLAIM, RunTable, milliseconds

_IDLE_SECONDS: Final = (0.005, 0.015)
_JITTER: Final = random.Random(1)
_NOTIFY: Final = "SELECT pg_notify('atf_runs', '')"
_ONE_RUN: Final = """
    INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, max_attempts,
                                   job_snapshot)
    VALUES (%(type)s, %(job)s, 1, date_trunc('minute', now()), %(class)s, 3, '{"version": 1}')
"""


class PromptHandler:
    """Notes when a run's work began."""

    job_type = "report"

    def __init__(self) -> None:
        self.begun_at = 0.0

    async def handle(self, job: Job) -> Mapping[str, Any]:
        """Note the time."""
        self.begun_at = time.perf_counter()
        return {}


class PromptBatches:
    """The same for batches, which complete their runs themselves."""

    job_type = "alert"

    def __init__(self, queue: RunQueue) -> None:
        self.begun_at = 0.0
        self._queue = queue

    async def handle(self, batch: ClaimedBatch) -> None:
        """Note the time and complete the runs."""
        self.begun_at = time.perf_counter()
        completions = [Completion(run, {}) for run in batch.runs]
        await self._queue.finish(batch.worker_id, Outcomes(completions=completions))


async def pick_up_by_worker(table: RunTable, count: int, *, is_batch: bool = False) -> Observation:
    """Return the latencies of an idle Worker in milliseconds."""
    await table.refill(0)
    counted = Count(1)
    queue = PostgresRunQueue(table.database)
    runs = CountingQueue(queue, counted)
    prompt = PromptBatches(runs) if is_batch else PromptHandler()
    latencies = []
    async with AsyncExitStack() as stack:
        stack.push_async_callback(queue.close)
        duty = Duty(job_type(prompt.job_type), prompt, is_batch)
        await stack.enter_async_context(working(table.database, runs, duty, BATCH))
        url = table.server.url(table.name)
        sender = await stack.enter_async_context(await psycopg.AsyncConnection.connect(url))
        await asyncio.sleep(0.2)  # the worker has its lease and has found nothing
        for job in range(1, count + 1):
            counted.missing = 1
            counted.all_done.clear()
            sent_at = await _send(sender, prompt.job_type, job)
            async with asyncio.timeout(10):
                await counted.all_done.wait()
            latencies.append(prompt.begun_at - sent_at)
            await asyncio.sleep(_JITTER.uniform(*_IDLE_SECONDS))
    return milliseconds(latencies)


async def pick_up_by_sql(table: RunTable, count: int) -> Observation:
    """Return the latencies of LISTEN and one claiming statement, on connections of their own."""
    await table.refill(0)
    url = table.server.url(table.name)
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
            sent_at = await _send(sender, "report", job)
            latencies.append(await claiming - sent_at)
    return milliseconds(latencies)


async def _send(sender: psycopg.AsyncConnection, job_type: str, job: int) -> float:
    """Store and announce one run as a tick does; return when its commit was asked for, fsync included."""
    retention_class = "alert" if job_type == "alert" else "other"
    await sender.execute(_ONE_RUN, {"job": job, "type": job_type, "class": retention_class})
    await sender.execute(_NOTIFY)
    sent_at = time.perf_counter()
    await sender.commit()
    return sent_at


async def _claim_when_told(listener: psycopg.AsyncConnection, claimer: psycopg.AsyncConnection) -> float:
    async for _ in listener.notifies(timeout=10, stop_after=1):
        rows = await (await claimer.execute(RAW_CLAIM, {"worker": "raw", "limit": BATCH})).fetchall()
        if len(rows) == 1:
            return time.perf_counter()
    raise BenchmarkError("a notification or its run did not arrive")
