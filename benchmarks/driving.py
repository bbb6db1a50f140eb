"""What benchmarks drive ATF with: a worker as processes have it, and a count of what it has brought to an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Final

from atf.jobs.handler import BatchHandler
from atf.jobs.job_type import JobLimits, JobTypeDefinition
from atf.jobs.lease import Lease
from atf.jobs.queue import Outcomes, RunQueue, Wanted
from atf.jobs.run import ClaimedBatch, ClaimedRun, WorkerId
from atf.jobs.worker import Duty, Worker, WorkerLimits
from atf.storage.database import Database
from atf.storage.listener import Listener
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.workers_repository import PostgresLeases
from benchmarks.measure import BenchmarkError

_PATIENCE_SECONDS: Final = 120


def job_type(name: str, *, concurrency: int = 10) -> JobTypeDefinition:
    """Return a job type that accepts everything."""
    limits = JobLimits(timedelta(minutes=5), 3, retry_delay=timedelta(seconds=1), concurrency=concurrency)
    return JobTypeDefinition(name, lambda *_: None, limits)


@dataclass
class Count:
    """Runs on their way; ``all_done`` is set once ``missing`` have come to an end, or one has failed."""

    missing: int
    all_done: asyncio.Event = field(default_factory=asyncio.Event)
    done_at: list[float] = field(default_factory=list)
    failure: BaseException | None = None

    def done(self, runs: int) -> None:
        """Note the end of so many runs, and when it was committed."""
        self.done_at.append(time.perf_counter())
        self.missing -= runs
        if self.missing <= 0:
            self.all_done.set()

    def failed(self, error: BaseException) -> None:
        """Note that it will not work."""
        self.failure = error
        self.all_done.set()


class CountingHandler:
    """Passes batches on and counts what has come back."""

    def __init__(self, inner: BatchHandler, count: Count) -> None:
        self.job_type = inner.job_type
        self._inner = inner
        self._count = count

    async def handle(self, batch: ClaimedBatch) -> None:
        """Do a batch and note when it was committed."""
        try:
            await self._inner.handle(batch)
        except Exception as exc:
            self._count.failed(exc)
            raise
        self._count.done(len(batch.runs))


class CountingQueue:
    """A run queue that counts what was written down."""

    def __init__(self, inner: RunQueue, count: Count) -> None:
        self._inner = inner
        self._count = count

    async def claim_runs(self, worker_id: WorkerId, wanted: Sequence[Wanted]) -> Sequence[ClaimedRun]:
        """Pass on."""
        return await self._inner.claim_runs(worker_id, wanted)

    async def finish(self, worker_id: WorkerId, outcomes: Outcomes) -> frozenset[int]:
        """Write down, and count."""
        for failure in outcomes.failures:
            self._count.failed(failure.error)
        held = await self._inner.finish(worker_id, outcomes)
        self._count.done(len(held))
        return held

    async def hand_back(self, worker_id: WorkerId, *, keep: Collection[int]) -> int:
        """Pass on."""
        return await self._inner.hand_back(worker_id, keep=keep)

    async def cancel_requests(self, worker_id: WorkerId) -> frozenset[int]:
        """Pass on."""
        return await self._inner.cancel_requests(worker_id)


@asynccontextmanager
async def run_queue(database: Database) -> AsyncIterator[PostgresRunQueue]:
    """Open a run queue; its claiming connection is closed afterwards."""
    queue = PostgresRunQueue(database)
    try:
        yield queue
    finally:
        await queue.close()


@asynccontextmanager
async def working(database: Database, queue: RunQueue, duty: Duty, batch_size: int) -> AsyncIterator[None]:
    """Run a worker with a lease and a listener as long as this lasts."""
    listener = Listener(database.direct_url, ["atf_runs"])
    await listener.start()
    await listener.wait(10)  # its first wake-up says that it listens
    types = [duty.definition.name]
    lease = Lease(PostgresLeases(database), name="bench", types=types, length=timedelta(seconds=15))
    worker = Worker(queue, lease, [duty], listener, limits=WorkerLimits(batch_size=batch_size))
    task = asyncio.create_task(worker.run(), name="worker")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await listener.stop()


async def drain(
    database: Database, queue: RunQueue, duty: Duty, count: Count, *, batch_size: int
) -> tuple[float, list[float]]:
    """Let a new worker do what the count waits for.

    Units:  seconds from the worker's start to the last commit, and seconds between commits.
    Errors: BenchmarkError if they do not come to an end.
    """
    total = count.missing
    async with working(database, queue, duty, batch_size):
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await count.all_done.wait()
        except TimeoutError as exc:
            raise BenchmarkError(f"{total} runs were not done in {_PATIENCE_SECONDS} s") from exc
    if count.failure is not None:
        raise BenchmarkError("a run failed") from count.failure
    marks = [begin, *count.done_at]
    return marks[-1] - begin, [after - before for before, after in pairwise(marks)]
