"""Workers in processes of their own on one queue: ``python -m benchmarks.worker_process URL`` is one of them.

It says "ready", begins when it reads a line, and says after each commit how many runs were written down and when.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from atf.jobs.worker import Duty
from atf.storage.database import Database
from benchmarks.driving import Count, CountingQueue, job_type, run_queue, working
from benchmarks.measure import BenchmarkError, Observation
from benchmarks.run_table import BATCH, RATE, NoOpHandler, RunTable

_PATIENCE_SECONDS: Final = 120


async def drain_by_processes(table: RunTable, count: int, processes: int) -> Observation:
    """Return runs a second of so many worker processes, from the word to begin to the last commit."""
    await table.refill(count)
    tally = _Tally(count)
    async with AsyncExitStack() as stack:
        url = table.server.url(table.name)
        workers = [await stack.enter_async_context(_worker(url)) for _ in range(processes)]
        begin = time.perf_counter()
        for worker in workers:
            _written_to(worker, b"begin\n")
        readers = [asyncio.create_task(tally.read(worker)) for worker in workers]
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await tally.all_done.wait()
        finally:
            for reader in readers:
                reader.cancel()
    await table.require_completed(count)
    return {RATE: count / (tally.last_at - begin)}


@dataclass
class _Tally:
    """What the processes have told. All processes of a machine share the clock of perf_counter."""

    missing: int
    last_at: float = 0.0
    all_done: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, worker: Process) -> None:
        assert worker.stdout is not None
        async for line in worker.stdout:
            runs, at = line.split()
            self.missing -= int(runs)
            self.last_at = max(self.last_at, float(at))
            if self.missing <= 0:
                self.all_done.set()


@asynccontextmanager
async def _worker(url: str) -> AsyncIterator[Process]:
    """Yield a process that is ready to begin; it ends when its input does."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.worker_process", url, stdin=PIPE, stdout=PIPE
    )
    try:
        assert worker.stdout is not None
        if await worker.stdout.readline() != b"ready\n":
            raise BenchmarkError("a worker process did not start")
        yield worker
    finally:
        assert worker.stdin is not None
        worker.stdin.close()
        try:
            await asyncio.wait_for(worker.wait(), 30)
        except TimeoutError:
            worker.kill()
            await worker.wait()


def _written_to(worker: Process, line: bytes) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line)


class _Telling(Count):
    """Says what has been written down instead of counting it."""

    def done(self, runs: int) -> None:
        sys.stdout.write(f"{runs} {time.perf_counter()}\n")
        sys.stdout.flush()


async def _main(url: str) -> None:
    database = Database(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    try:
        duty = Duty(job_type("report"), NoOpHandler())
        async with (
            run_queue(database) as queue,
            working(database, CountingQueue(queue, _Telling(0)), duty, BATCH),
        ):
            await asyncio.to_thread(sys.stdin.read)
    finally:
        await database.close()


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # as every process of ATF does when it starts
    asyncio.run(_main(sys.argv[1]))
