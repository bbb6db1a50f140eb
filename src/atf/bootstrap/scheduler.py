"""The scheduler process, wired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import create_engine

from atf.adapters.apscheduler.timer import ApschedulerTimer, open_jobstore
from atf.bootstrap.database import open_database
from atf.bootstrap.health import MainService, with_health
from atf.bootstrap.market import build_market_clock
from atf.jobs.chores.partition_maker import PartitionMaker
from atf.jobs.chores.rescuer import Rescuer
from atf.lifecycle import Progress, Service
from atf.schedules.tick import Tick
from atf.services.scheduler.service import Chores, SchedulerService
from atf.settings import Settings
from atf.storage.advisory_lock import TIMER_LOCK, SessionLock
from atf.storage.database import Database
from atf.storage.listener import Listener, require_notifications
from atf.storage.partitions import PostgresPartitions
from atf.storage.schedules_repository import PostgresGroups
from atf.storage.workers_repository import PostgresLeases


@asynccontextmanager
async def scheduler_process(settings: Settings, progress: Progress) -> AsyncIterator[Service]:
    """Open everything a scheduler needs; it is closed in reverse order."""
    async with open_database(settings) as database:
        await require_notifications(database.direct_url)
        clock = await build_market_clock(database)
        listener = Listener(database.direct_url, ["atf_schedules"])
        await listener.start()
        try:
            scheduler = SchedulerService(
                Tick(PostgresGroups(database, is_replay=clock.is_replay), clock),
                clock,
                Chores(
                    Rescuer(PostgresLeases(database)),
                    PartitionMaker(PostgresPartitions(database), clock),
                ),
                open_timer=_timer_opener(database),
                lock=SessionLock(database.direct_url, TIMER_LOCK),
                waiter=listener,
                poll=timedelta(seconds=settings.poll_interval_seconds),
                startup_delay=timedelta(seconds=settings.startup_delay_seconds),
                progress=progress,
            )
            main = MainService(
                scheduler,
                "scheduler",
                progress,
                stalled_after_seconds=3 * settings.poll_interval_seconds + 60,
                port="scheduler_port",
                word=lambda: scheduler.state,
                counts=True,
                is_replay=clock.is_replay,
            )
            async with with_health(settings, database, main) as service:
                yield service
        finally:
            await listener.stop()


def _timer_opener(database: Database) -> Callable[[Callable[[], Awaitable[None]]], ApschedulerTimer]:
    """APScheduler's store is synchronous; it gets an engine of its own, which stopping the timer disposes of."""

    def open_timer(ring: Callable[[], Awaitable[None]]) -> ApschedulerTimer:
        return ApschedulerTimer(open_jobstore(create_engine(database.url, pool_size=1, pool_pre_ping=True)), ring)

    return open_timer
