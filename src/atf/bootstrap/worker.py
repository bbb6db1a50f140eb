"""The worker process, wired."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from atf.alerts.evaluator import AlertEvaluator
from atf.bootstrap.database import open_database
from atf.bootstrap.health import MainService, with_health
from atf.bootstrap.market import build_data_manager, build_market_clock
from atf.jobs.lease import Lease
from atf.jobs.run import JobType
from atf.jobs.worker import Worker, WorkerLimits
from atf.lifecycle import Progress, Service
from atf.services.worker.service import WorkerService
from atf.settings import Settings
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.listener import Listener, require_notifications
from atf.storage.runs_repository import PostgresRunQueue
from atf.storage.workers_repository import PostgresLeases


@asynccontextmanager
async def worker_process(
    settings: Settings, progress: Progress, *, name: str = "worker"
) -> AsyncIterator[Service]:
    """Open everything a worker needs; it is closed in reverse order."""
    async with open_database(settings) as database:
        await require_notifications(database.direct_url)
        queue = PostgresRunQueue(database)
        evaluator = AlertEvaluator(
            PostgresAlerts(database),
            queue,
            build_data_manager(database, settings),
            await build_market_clock(database),
            patience=timedelta(seconds=settings.bars_patience_seconds),
        )
        lease = Lease(
            PostgresLeases(database),
            name=name,
            types=[evaluator.job_type],
            length=timedelta(seconds=settings.worker_lease_seconds),
        )
        listener = Listener(database.direct_url, ["atf_runs"])
        await listener.start()
        try:
            worker = Worker(queue, lease, [evaluator], listener, limits=_limits(settings), progress=progress)
            main = MainService(
                WorkerService(worker, progress),
                "worker",
                progress,
                stalled_after_seconds=settings.alert_timeout_seconds + 60,
                port="worker_health_port",
            )
            async with with_health(settings, database, main) as service:
                yield service
        finally:
            await listener.stop()


def _limits(settings: Settings) -> WorkerLimits:
    return WorkerLimits(
        batch_size=settings.worker_batch_size,
        max_workers=settings.max_workers,
        timeouts={JobType.ALERT: timedelta(seconds=settings.alert_timeout_seconds)},
    )
