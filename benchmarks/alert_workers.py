"""Workers in processes of their own, as users have them, that do one bar of all alerts when they are told to."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from typing import Final

from atf.alerts.evaluator import AlertEvaluator
from atf.alerts.loading import CompiledRules
from atf.jobs.run import ClaimedBatch
from atf.jobs.worker import Duty
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.testing.clocks import FakeMarketClock
from benchmarks.alert_stages import StageWatch, WatchedData
from benchmarks.driving import job_type, run_queue, working
from benchmarks.measure import BenchmarkError

_PATIENCE_SECONDS: Final = 120
_NO_MORE: Final = None


@dataclass(frozen=True, slots=True)
class AlertWorkers:
    """Some workers that wait to be told that a bar has closed."""

    connections: Sequence[Connection]

    async def seconds(self, at: datetime, alerts: int) -> float:
        """Let them do the runs that are due, and return how long it took until the last commit."""
        begin = time.perf_counter()
        for connection in self.connections:
            connection.send(at)
        missing = alerts
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while missing > 0:
                    missing -= await asyncio.to_thread(self._next_done)
        except TimeoutError as exc:
            raise BenchmarkError(f"{missing} of {alerts} runs were not done in {_PATIENCE_SECONDS} s") from exc
        seconds = time.perf_counter() - begin
        for connection in self.connections:
            connection.send(_NO_MORE)
        for connection in self.connections:  # so that nobody claims while the next bar is prepared
            while await asyncio.to_thread(connection.recv) is not None:
                pass
        return seconds

    def _next_done(self) -> int:
        ready = multiprocessing.connection.wait(self.connections, timeout=_PATIENCE_SECONDS)
        return sum(int(one.recv()) for one in ready if isinstance(one, Connection))


@asynccontextmanager
async def alert_workers(url: str, count: int, batch_size: int) -> AsyncIterator[AlertWorkers]:
    """Start workers; they end with this."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=_work, args=(url, batch_size, theirs), daemon=True) for _, theirs in pipes
    ]
    for process in processes:
        process.start()
    try:
        yield AlertWorkers([ours for ours, _ in pipes])
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            await asyncio.to_thread(process.join)


def _work(url: str, batch_size: int, connection: Connection) -> None:
    asyncio.run(_do_bars(url, batch_size, connection))


class _TellingHandler:
    """Evaluates batches and tells how many runs each had."""

    def __init__(self, inner: AlertEvaluator, connection: Connection) -> None:
        self.job_type = inner.job_type
        self._inner = inner
        self._connection = connection

    async def handle(self, batch: ClaimedBatch) -> None:
        """Do a batch."""
        await self._inner.handle(batch)
        self._connection.send(len(batch.runs))


async def _do_bars(url: str, batch_size: int, connection: Connection) -> None:
    """Work from when a bar is told to when nothing more is."""
    database, rules = Database(url), CompiledRules()
    while True:
        clock = FakeMarketClock(await asyncio.to_thread(connection.recv))
        # Bars are read from the store again, as if they had come just now.
        data = WatchedData(PostgresBarStore(database), StageWatch())
        async with run_queue(database) as queue:
            evaluator = AlertEvaluator(
                PostgresAlerts(database), queue, data, clock, patience=timedelta(seconds=60), rules=rules
            )
            duty = Duty(job_type("alert"), _TellingHandler(evaluator, connection), is_batch=True)
            async with working(database, queue, duty, batch_size):
                await asyncio.to_thread(connection.recv)
        connection.send(None)
