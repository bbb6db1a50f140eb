"""A running scheduler notices changes at once by a notification, and at its poll if that is lost.

Where the notification counts, the poll comes after five minutes, which no test waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine

from atf.adapters.apscheduler.timer import ApschedulerTimer, open_jobstore
from atf.clock import SystemClock
from atf.jobs.chores.partition_maker import PartitionMaker
from atf.jobs.job_type import JobTypeDefinition, JobTypes
from atf.jobs.job_types_builtin import DEFAULT_LIMITS
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import JobType
from atf.market.market_clock import LiveMarketClock
from atf.schedules.schedule import ScheduleCreate, ScheduleUpdate
from atf.schedules.tick import Tick
from atf.services.scheduler.service import SchedulerService
from atf.storage.advisory_lock import TIMER_LOCK, SessionLock
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups
from atf.storage.listener import Listener
from atf.storage.partitions import PostgresPartitions
from atf.storage.schedules_repository import PostgresJobsRepository

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows

OWNER = 1
UNCHECKED = JobTypes([JobTypeDefinition("report", lambda target, params: None, DEFAULT_LIMITS[JobType.REPORT])])
EVERY_SECOND = "* * * * * *"
LONG, SHORT = timedelta(minutes=5), timedelta(seconds=0.5)


@pytest.fixture
def jobs(database: Database) -> JobsService:
    return JobsService(PostgresJobsRepository(database), LiveMarketClock(SystemClock()), types=UNCHECKED)


@asynccontextmanager
async def a_scheduler(
    database: Database, eventually: Eventually, *, poll: timedelta, channel: str = "atf_schedules"
) -> AsyncIterator[None]:
    """The service as its process runs it; on another channel it hears nothing."""
    clock = LiveMarketClock(SystemClock())
    listener = Listener(database.direct_url, [channel])
    await listener.start()
    assert await listener.wait(5)

    def open_timer(ring: Callable[[], Awaitable[None]]) -> ApschedulerTimer:
        return ApschedulerTimer(open_jobstore(create_engine(database.url)), ring)

    service = SchedulerService(
        Tick(PostgresGroups(database, is_replay=False), clock),
        clock,
        [],
        before_first_tick=PartitionMaker(PostgresPartitions(database), clock),
        open_timer=open_timer,
        lock=SessionLock(database.direct_url, TIMER_LOCK),
        waiter=listener,
        poll=poll,
    )

    async def is_running() -> bool:
        return service.state == "running"

    serving = asyncio.create_task(service.start())
    try:
        await eventually(is_running)
        yield
    finally:
        await service.stop()
        await serving
        await listener.stop()


async def newest_run(rows: Rows) -> datetime:
    found: datetime = await rows.value("SELECT max(scheduled_for) FROM job_schedule_runs")
    return found


async def until_a_run(rows: Rows, eventually: Eventually, *, besides: int = 0) -> None:
    """Wait, ten seconds at most, until there is a run of any schedule but one."""

    async def has_run() -> bool:
        return bool(await rows.column("SELECT 1 FROM job_schedule_runs WHERE job_id <> :id", id=besides))

    await eventually(has_run)


def a_schedule() -> ScheduleCreate:
    return ScheduleCreate("ticking", "report", "all", EVERY_SECOND)


async def test_a_new_schedule_runs_at_its_next_second(
    database: Database, jobs: JobsService, rows: Rows, eventually: Eventually
) -> None:
    async with a_scheduler(database, eventually, poll=LONG):
        made = await jobs.create_schedule(OWNER, a_schedule())
        await until_a_run(rows, eventually)
        assert await newest_run(rows) >= made.created_at


async def test_a_new_schedule_is_noticed_at_the_poll_if_the_notification_is_lost(
    database: Database, jobs: JobsService, rows: Rows, eventually: Eventually
) -> None:
    async with a_scheduler(database, eventually, poll=SHORT, channel="nobody_speaks_here"):
        made = await jobs.create_schedule(OWNER, a_schedule())
        await until_a_run(rows, eventually)
        assert await newest_run(rows) >= made.created_at


@pytest.mark.parametrize("how", ["paused", "deleted"])
async def test_a_schedule_that_is_taken_away_runs_no_more(
    database: Database, jobs: JobsService, rows: Rows, eventually: Eventually, how: str
) -> None:
    async with a_scheduler(database, eventually, poll=LONG):
        made = await jobs.create_schedule(OWNER, a_schedule())
        await until_a_run(rows, eventually)
        change = jobs.pause_schedule if how == "paused" else jobs.delete_schedule
        await change(OWNER, made.id)
        changed_at = datetime.now(UTC)
        await jobs.create_schedule(OWNER, ScheduleCreate("still there", "report", "all", EVERY_SECOND))
        await until_a_run(rows, eventually, besides=made.id)
        newest = await rows.value(
            "SELECT max(scheduled_for) FROM job_schedule_runs WHERE job_id = :id", id=made.id
        )
        assert newest <= changed_at


async def test_a_resumed_schedule_runs_again_at_its_next_second(
    database: Database, jobs: JobsService, rows: Rows, eventually: Eventually
) -> None:
    made = await jobs.create_schedule(OWNER, a_schedule())
    await jobs.pause_schedule(OWNER, made.id)
    async with a_scheduler(database, eventually, poll=LONG):
        assert await rows.column("SELECT 1 FROM job_schedule_runs") == []
        await jobs.resume_schedule(OWNER, made.id)
        await until_a_run(rows, eventually)


async def test_a_changed_schedule_runs_by_its_new_expression(
    database: Database, jobs: JobsService, rows: Rows, eventually: Eventually
) -> None:
    made = await jobs.create_schedule(OWNER, replace(a_schedule(), cron="0 0 1 1 *"))
    async with a_scheduler(database, eventually, poll=LONG):
        await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(cron=EVERY_SECOND))
        await until_a_run(rows, eventually)
        await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(cron="0 0 1 1 *"))
        changed_at = datetime.now(UTC)
        await jobs.create_schedule(OWNER, ScheduleCreate("still there", "report", "all", EVERY_SECOND))
        await until_a_run(rows, eventually, besides=made.id)
        newest = await rows.value(
            "SELECT max(scheduled_for) FROM job_schedule_runs WHERE job_id = :id", id=made.id
        )
        assert newest <= changed_at
