"""What benchmarks drive ATF with: a worker as processes have it, a handler that counts, a clock that stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Final

from atf.jobs.lease import Lease
from atf.jobs.run import ClaimedBatch
from atf.jobs.worker import BatchHandler, RunQueue, Worker, WorkerLimits
from atf.storage.database import Database
from atf.storage.listener import Listener
from atf.storage.workers_repository import PostgresLeases
from benchmarks.measure import BenchmarkError

_PATIENCE_SECONDS: Final = 120


class CountingHandler:
    """Passes batches on; ``all_done`` is set once so many runs have come back, or one batch has failed."""

    def __init__(self, inner: BatchHandler, total: int) -> None:
        self.job_type = inner.job_type
        self.all_done = asyncio.Event()
        self.done_at: list[float] = []
        self.failure: Exception | None = None
        self._inner = inner
        self._missing = total

    async def handle(self, batch: ClaimedBatch) -> None:
        """Do a batch and note when it was committed."""
        try:
            await self._inner.handle(batch)
        except Exception as exc:
            self.failure = exc
            self.all_done.set()
            raise
        self.done_at.append(time.perf_counter())
        self._missing -= len(batch.runs)
        if self._missing <= 0:
            self.all_done.set()


@asynccontextmanager
async def working(
    database: Database, queue: RunQueue, handler: BatchHandler, batch_size: int
) -> AsyncIterator[None]:
    """Run a worker with a lease and a listener as long as this lasts."""
    listener = Listener(database.direct_url, ["atf_runs"])
    await listener.start()
    await listener.wait(10)  # its first wake-up says that it listens
    lease = Lease(PostgresLeases(database), name="bench", types=[handler.job_type], length=timedelta(seconds=15))
    worker = Worker(queue, lease, [handler], listener, limits=WorkerLimits(batch_size=batch_size))
    task = asyncio.create_task(worker.run(), name="worker")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await listener.stop()


async def drain(
    database: Database, queue: RunQueue, handler: BatchHandler, *, total: int, batch_size: int
) -> tuple[float, list[float]]:
    """Let a new worker do ``total`` waiting runs.

    Units:  seconds from the worker's start to the last commit, and seconds of each batch.
    Errors: BenchmarkError if they do not come to an end.
    """
    counting = CountingHandler(handler, total)
    async with working(database, queue, counting, batch_size):
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await counting.all_done.wait()
        except TimeoutError as exc:
            raise BenchmarkError(f"{total} runs were not done in {_PATIENCE_SECONDS} s") from exc
    if counting.failure is not None:
        raise BenchmarkError("a batch failed") from counting.failure
    marks = [begin, *counting.done_at]
    return marks[-1] - begin, [after - before for before, after in pairwise(marks)]
