"""The scheduler process, wired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import create_engine

from atf.adapters.apscheduler.timer import ApschedulerTimer, open_jobstore
from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.bootstrap.database import open_database
from atf.bootstrap.health import MainService, with_health
from atf.bootstrap.job_types import build_job_types
from atf.bootstrap.market import build_market_clock
from atf.clock import SystemClock
from atf.health.job_watch import JobWatch
from atf.jobs.chores.chore import Chore
from atf.jobs.chores.cleaner import Cleaner, Retention
from atf.jobs.chores.dead_letter_pruner import DeadLetterPruner
from atf.jobs.chores.partition_maker import PartitionMaker
from atf.jobs.chores.rescuer import Rescuer
from atf.jobs.chores.retry_stager import RetryStager
from atf.jobs.chores.statistics_rollup import StatisticsRollup
from atf.jobs.chores.step_pruner import StepPruner
from atf.lifecycle import Progress, Service
from atf.notifications.message_pruner import MessagePruner
from atf.schedules.tick import Tick
from atf.services.scheduler.service import SchedulerService
from atf.settings import Settings
from atf.storage.advisory_lock import TIMER_LOCK, SessionLock
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups
from atf.storage.job_watch_repository import PostgresJobWatch
from atf.storage.listener import Listener, require_notifications
from atf.storage.partitions import PostgresPartitions
from atf.storage.retention import PostgresRetention
from atf.storage.rollup_repository import PostgresRollup
from atf.storage.run_steps_repository import PostgresRunSteps
from atf.storage.staging import PostgresStaging
from atf.storage.workers_repository import PostgresLeases


@asynccontextmanager
async def scheduler_process(settings: Settings, progress: Progress) -> AsyncIterator[Service]:
    """Open everything a scheduler needs; it is closed in reverse order."""
    async with open_database(settings) as database:
        await require_notifications(database.direct_url)
        clock = await build_market_clock(database)
        listener = Listener(database.direct_url, ["atf_schedules"])
        await listener.start()
        staging = PostgresStaging(database)
        try:
            partition_maker = PartitionMaker(PostgresPartitions(database), clock)
            scheduler = SchedulerService(
                Tick(_groups(settings, database, is_replay=clock.is_replay), clock, ExchangeCalendars()),
                clock,
                [partition_maker, RetryStager(staging), *_chores(settings, database, is_replay=clock.is_replay)],
                before_first_tick=partition_maker,
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
            await staging.close()


def _groups(settings: Settings, database: Database, *, is_replay: bool) -> PostgresGroups:
    types = build_job_types(settings).types
    return PostgresGroups(
        database,
        is_replay=is_replay,
        runs_per_day=settings.user_runs_per_day_limit,
        attempts={one.name: one.limits.max_attempts for one in types},
        retention_classes={one.name: one.retention_class for one in types},
    )


def _chores(settings: Settings, database: Database, *, is_replay: bool) -> list[Chore]:
    clock = SystemClock()
    watch = JobWatch(PostgresJobWatch(database), clock, backlog=timedelta(seconds=settings.backlog_alert_seconds))
    retention = Retention(
        alert_runs=timedelta(hours=settings.alert_runs_keep_hours),
        other_runs=timedelta(days=settings.runs_keep_days),
        dead_letters=timedelta(days=settings.dead_letters_keep_days),
    )
    return [
        Rescuer(PostgresLeases(database)),
        Cleaner(PostgresRetention(database), clock, retention),
        StatisticsRollup(PostgresRollup(database), clock, retention.other_runs),
        DeadLetterPruner(PostgresRetention(database), retention.dead_letters),
        StepPruner(PostgresRunSteps(database)),
        MessagePruner(PostgresRetention(database), clock, timedelta(days=settings.messages_keep_days)),
        *([] if is_replay else [watch]),  # a replay's administrator watches it live
    ]


def _timer_opener(database: Database) -> Callable[[Callable[[], Awaitable[None]]], ApschedulerTimer]:
    """APScheduler's store is synchronous; it gets an engine of its own, which stopping the timer disposes of."""

    def open_timer(ring: Callable[[], Awaitable[None]]) -> ApschedulerTimer:
        return ApschedulerTimer(open_jobstore(create_engine(database.url, pool_size=1, pool_pre_ping=True)), ring)

    return open_timer
