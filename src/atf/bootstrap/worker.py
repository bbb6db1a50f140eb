"""The worker process, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta

from atf.bootstrap.database import open_database
from atf.bootstrap.duties import Market, Workbench, WorkerOptions, open_executor
from atf.bootstrap.health import MainService, with_health
from atf.bootstrap.job_types import build_job_types
from atf.bootstrap.market import build_market_clock, open_data_manager
from atf.bootstrap.providers import OpenProviders, open_providers
from atf.jobs.lease import Lease
from atf.jobs.run_metrics import RunMetrics
from atf.jobs.worker import Duty, Worker, WorkerLimits
from atf.lifecycle import Progress, Service
from atf.market.data_manager import DataManager
from atf.market.market_clock import MarketClock
from atf.services.worker.service import WorkerService
from atf.settings import Settings
from atf.storage.database import Database
from atf.storage.listener import Listener, require_notifications
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.workers_repository import PostgresLeases


@asynccontextmanager
async def worker_process(
    settings: Settings, progress: Progress, *, options: WorkerOptions | None = None
) -> AsyncIterator[Service]:
    """Open everything a worker needs; it is closed in reverse order."""
    options = options or WorkerOptions()
    threads = ThreadPoolExecutor(settings.executors.default.max_workers, thread_name_prefix="handler")
    asyncio.get_running_loop().set_default_executor(threads)
    async with (
        open_database(settings) as database,
        open_executor(settings) as executor,
        open_providers(settings) as providers,
        _market(settings, database, providers) as (clock, data),
        _queue(settings, database) as queue,
        _listener(database) as listener,
    ):
        installed = build_job_types(settings)
        market = Market(clock, data, providers)
        duties = Workbench(settings, database, queue, market, executor, installed).duties(options)
        metrics = RunMetrics()
        worker = Worker(
            queue,
            _lease(settings, database, options, duties),
            duties,
            listener,
            limits=_limits(settings),
            progress=progress,
            metrics=metrics,
        )
        main = MainService(
            WorkerService(worker, progress),
            "worker",
            progress,
            stalled_after_seconds=60,
            port="worker_health_port",
            runs=metrics,
        )
        async with with_health(settings, database, main) as service:
            yield service


@asynccontextmanager
async def _market(
    settings: Settings, database: Database, providers: OpenProviders
) -> AsyncIterator[tuple[MarketClock, DataManager]]:
    clock = await build_market_clock(database)
    async with open_data_manager(database, settings, clock, providers) as data:
        yield clock, data


@asynccontextmanager
async def _queue(settings: Settings, database: Database) -> AsyncIterator[PostgresRunQueue]:
    queue = PostgresRunQueue(database, user_limit=settings.user_running_runs_limit)
    try:
        yield queue
    finally:
        await queue.close()


@asynccontextmanager
async def _listener(database: Database) -> AsyncIterator[Listener]:
    await require_notifications(database.direct_url)
    listener = Listener(database.direct_url, ["atf_runs"])
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


def _lease(settings: Settings, database: Database, options: WorkerOptions, duties: Sequence[Duty]) -> Lease:
    return Lease(
        PostgresLeases(database),
        name=options.name,
        types=[duty.definition.name for duty in duties],
        length=timedelta(seconds=settings.worker_lease_seconds),
        slots={
            duty.definition.name: 1 if duty.is_batch else duty.definition.limits.concurrency for duty in duties
        },
    )


def _limits(settings: Settings) -> WorkerLimits:
    """Running runs get most of the time that the process has to stop; the rest is for giving back, even when the
    database does not answer and each question to it has to be given up."""
    drain = max(settings.shutdown_timeout_seconds / 2, settings.shutdown_timeout_seconds - 12)
    return WorkerLimits(batch_size=settings.worker_batch_size, drain=timedelta(seconds=drain))
