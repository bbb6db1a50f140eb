"""Schedules and their groups: what users change, and what ticks fire, alone and at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from atf.errors import InvalidCron, InvalidInput, NotFound
from atf.jobs.job_type import JobTypes, as_given
from atf.jobs.job_types_builtin import builtin_types
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import JobType
from atf.schedules.catch_up import firing_of
from atf.schedules.fire_times import FireTimes
from atf.schedules.group_store import Chunk, Cursor, DueGroup, Firing
from atf.schedules.schedule import Schedule, ScheduleCreate, ScheduleDefaults
from atf.schedules.tick import Tick
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups
from atf.storage.schedules_repository import PostgresJobsRepository

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows

    from atf.testing.clocks import FakeMarketClock

OWNER, STRANGER = 1, 2
NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURLY = "0 * * * *"
# What a job is given is not what these tests are about.
UNCHECKED = JobTypes([replace(one, check=lambda *_: None, fill=as_given) for one in builtin_types()])
BEGIN = Cursor(0, 0)


@pytest.fixture
def clock(market_clock: FakeMarketClock) -> FakeMarketClock:
    market_clock.at = NOON + timedelta(minutes=30)
    return market_clock


@pytest.fixture
def jobs(database: Database, clock: FakeMarketClock) -> JobsService:
    return JobsService(PostgresJobsRepository(database), clock, types=UNCHECKED)


@pytest.fixture
async def groups(database: Database, rows: Rows) -> PostgresGroups:
    await rows.partitions(NOON)
    return PostgresGroups(database, is_replay=False)


@pytest.fixture
def tick(groups: PostgresGroups, clock: FakeMarketClock) -> Tick:
    return Tick(groups, clock)


def a_schedule(name: str = "hourly report", **changes: Any) -> ScheduleCreate:
    fields = {"job_type": JobType.REPORT, "target": "all", "cron": HOURLY, **changes}
    return ScheduleCreate(name=name, **fields)


async def many(jobs: JobsService, rows: Rows, count: int) -> Schedule:
    """A group of ``count`` schedules; the first of them."""
    first = await jobs.create_schedule(OWNER, a_schedule())
    await rows.change(
        """
        INSERT INTO job_schedules (user_id, name, job_type, target, cron, effective_from, group_id)
        SELECT user_id, name || n, job_type, target, cron, effective_from, group_id
        FROM job_schedules, generate_series(2, :count) AS n
        """,
        count=count,
    )
    return first


def due(group: DueGroup, clock: FakeMarketClock) -> Firing:
    """What a tick at the clock's time fires for all schedules of a group."""
    return firing_of(FireTimes(group.cron, group.timezone), group, clock.at)


async def fire_times(rows: Rows) -> list[datetime | None]:
    return await rows.column("SELECT next_fire_at FROM schedule_groups ORDER BY id")


async def run_counts(rows: Rows) -> list[tuple[datetime, int]]:
    """How many runs there are of each instant; the unique key keeps them from being of one schedule twice."""
    found = await rows.all(
        "SELECT scheduled_for, count(*) AS runs, count(DISTINCT job_id) AS jobs FROM job_schedule_runs "
        "GROUP BY 1 ORDER BY 1"
    )
    assert all(row.runs == row.jobs for row in found)
    return [(row.scheduled_for, row.runs) for row in found]


async def test_a_schedule_is_stored_as_it_was_given(jobs: JobsService, clock: FakeMarketClock) -> None:
    given = a_schedule(timezone="Europe/Berlin", task_params={"a": [1, None, "ü"]}, priority=-3)
    made = await jobs.create_schedule(OWNER, given)
    assert await jobs.get_schedule(OWNER, made.id) == made
    assert (made.name, made.target, made.cron, made.timezone) == ("hourly report", "all", HOURLY, "Europe/Berlin")
    assert (made.task_params, made.priority, made.enabled, made.version) == ({"a": [1, None, "ü"]}, -3, True, 1)
    assert made.next_run_at == NOON + HOUR
    assert made.created_at == made.updated_at == clock.at


async def test_a_schedule_keeps_what_it_says_and_gets_defaults_for_the_rest(
    database: Database, clock: FakeMarketClock, rows: Rows
) -> None:
    defaults = ScheduleDefaults(coalesce=True, max_instances=2, misfire_grace_seconds=60)
    jobs = JobsService(PostgresJobsRepository(database), clock, defaults, types=UNCHECKED)
    stored = await jobs.create_schedule(OWNER, a_schedule(misfire_grace_seconds=5))
    assert (stored.coalesce, stored.max_instances, stored.misfire_grace_seconds) == (True, 2, 5)
    assert await jobs.get_schedule(OWNER, stored.id) == stored
    assert await rows.column("SELECT misfire_grace_seconds FROM job_schedules") == [5]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"cron": "61 * * * *"}, InvalidCron),
        ({"timezone": "Mars/Olympus"}, InvalidCron),
        ({"job_type": "dance"}, InvalidInput),
        ({"target": "nul \0 byte"}, InvalidInput),
        ({"task_params": {"a": "nul \0 byte"}}, InvalidInput),
    ],
)
async def test_of_what_is_refused_nothing_is_stored(
    jobs: JobsService, rows: Rows, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await jobs.create_schedule(OWNER, a_schedule(**changes))
    assert await rows.column("SELECT id FROM job_schedules") == []
    assert await rows.column("SELECT id FROM schedule_groups") == []


async def test_schedules_of_the_same_times_share_a_group(jobs: JobsService, rows: Rows) -> None:
    for changes in ({}, {"name": "b"}, {"timezone": "Europe/Berlin"}, {"cron": "0 0 * * *"}):
        await jobs.create_schedule(OWNER, a_schedule(**changes))
    assert await rows.column("SELECT group_id FROM job_schedules ORDER BY id") == [1, 1, 3, 4]
    assert len(await fire_times(rows)) == 3


async def test_schedules_made_at_once_share_a_group(jobs: JobsService, rows: Rows) -> None:
    await asyncio.gather(*(jobs.create_schedule(OWNER, a_schedule(f"n{n}")) for n in range(10)))
    assert len(await fire_times(rows)) == 1


async def test_another_users_schedule_is_not_found(jobs: JobsService, rows: Rows) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('stranger', 'trader')")
    made = await jobs.create_schedule(OWNER, a_schedule())
    for forbidden in (jobs.get_schedule, jobs.pause_schedule, jobs.resume_schedule, jobs.delete_schedule):
        with pytest.raises(NotFound):
            await forbidden(STRANGER, made.id)
    assert await jobs.list_schedules(STRANGER) == []
    assert await jobs.list_schedules(OWNER) == [made]


async def test_an_id_of_any_size_is_not_found(jobs: JobsService) -> None:
    for schedule_id in (0, -1, 2**31, 2**63, 10**30):
        with pytest.raises(NotFound):
            await jobs.get_schedule(OWNER, schedule_id)


async def test_the_list_may_be_of_one_type(jobs: JobsService) -> None:
    report = await jobs.create_schedule(OWNER, a_schedule())
    backup = await jobs.create_schedule(OWNER, a_schedule(job_type=JobType.BACKUP))
    assert await jobs.list_schedules(OWNER) == [report, backup]
    assert await jobs.list_schedules(OWNER, JobType.BACKUP) == [backup]


async def test_a_tick_makes_one_run_of_each_schedule_and_instant(
    jobs: JobsService, tick: Tick, clock: FakeMarketClock, rows: Rows
) -> None:
    made = await jobs.create_schedule(OWNER, a_schedule(task_params={"a": 1}, priority=2))
    await jobs.create_schedule(OWNER, a_schedule(job_type=JobType.ALERT))
    assert await tick.fire_due() == 0
    clock.at = NOON + HOUR
    assert await tick.fire_due() == 2
    assert await tick.fire_due() == 0
    assert await run_counts(rows) == [(NOON + HOUR, 2)]
    assert await fire_times(rows) == [NOON + 2 * HOUR]
    runs = await rows.all("SELECT * FROM job_schedule_runs ORDER BY job_id")
    assert [(run.retention_class, run.job_type) for run in runs] == [("other", "report"), ("alert", "alert")]
    assert (runs[0].status, runs[0].priority, runs[0].user_id) == ("PENDING", 2, OWNER)
    assert runs[0].job_snapshot == {
        "name": "hourly report", "target": "all", "version": 1, "task_params": {"a": 1}
    }  # fmt: skip
    assert (await jobs.get_schedule(OWNER, made.id)).next_run_at == NOON + 2 * HOUR


async def test_a_replays_runs_are_of_their_own_class(
    database: Database, jobs: JobsService, clock: FakeMarketClock, rows: Rows
) -> None:
    await jobs.create_schedule(OWNER, a_schedule())
    clock.at = NOON + HOUR
    assert await Tick(PostgresGroups(database, is_replay=True), clock).fire_due() == 1
    assert await rows.column("SELECT retention_class FROM job_schedule_runs") == ["replay"]


async def test_of_several_missed_instants_the_newest_fires(
    jobs: JobsService, tick: Tick, clock: FakeMarketClock, rows: Rows
) -> None:
    await jobs.create_schedule(OWNER, a_schedule())
    clock.at = NOON + timedelta(hours=5, minutes=10)
    assert await tick.fire_due() == 1
    assert await run_counts(rows) == [(NOON + 5 * HOUR, 1)]
    assert await fire_times(rows) == [NOON + 6 * HOUR]


@pytest.mark.parametrize("job_type", [JobType.ALERT, JobType.REPORT])
async def test_an_instant_whose_partition_nobody_made_fires_after_a_long_outage(
    jobs: JobsService, tick: Tick, clock: FakeMarketClock, rows: Rows, job_type: JobType
) -> None:
    await jobs.create_schedule(OWNER, a_schedule(job_type=job_type, cron="0 9 1 * *"))
    clock.at = NOON + timedelta(days=200)
    await rows.partitions(clock.at)
    assert await tick.fire_due() == 1
    assert await run_counts(rows) == [(datetime(2024, 9, 1, 9, tzinfo=UTC), 1)]


async def test_schedulers_at_once_fire_each_schedule_of_5000_once(
    database: Database, jobs: JobsService, groups: PostgresGroups, clock: FakeMarketClock, rows: Rows
) -> None:
    await many(jobs, rows, 5_000)
    clock.at = NOON + HOUR
    (group,) = await groups.due_groups(clock.at)

    async def scheduler() -> int:
        """A tick in small chunks, so that the others get in between."""
        cursor, created = BEGIN, 0
        while True:
            chunk = await groups.fire([due(group, clock)], after=cursor, limit=300)
            created += chunk.runs_created
            if chunk.resume is None:
                return created
            cursor = chunk.resume

    created = await asyncio.gather(scheduler(), scheduler(), Tick(groups, clock).fire_due())
    left = await Tick(groups, clock).fire_due()
    assert sum(created) + left == 5_000
    assert await run_counts(rows) == [(NOON + HOUR, 5_000)]
    assert await fire_times(rows) == [NOON + 2 * HOUR]


async def test_a_tick_that_dies_after_a_chunk_is_completed_by_the_next(
    jobs: JobsService, groups: PostgresGroups, tick: Tick, clock: FakeMarketClock, rows: Rows
) -> None:
    await many(jobs, rows, 10)
    clock.at = NOON + HOUR
    (group,) = await groups.due_groups(clock.at)
    assert await groups.fire([due(group, clock)], after=BEGIN, limit=4) == Chunk(4, Cursor(1, 4))
    assert await fire_times(rows) == [NOON + HOUR], "a group is advanced with its last chunk only"
    assert await tick.fire_due() == 6
    assert await run_counts(rows) == [(NOON + HOUR, 10)]
    assert await fire_times(rows) == [NOON + 2 * HOUR]


async def test_a_chunk_that_ends_with_the_group_does_not_lose_its_end(
    jobs: JobsService, groups: PostgresGroups, clock: FakeMarketClock, rows: Rows
) -> None:
    await many(jobs, rows, 4)
    clock.at = NOON + HOUR
    (group,) = await groups.due_groups(clock.at)
    firing = due(group, clock)
    assert await groups.fire([firing], after=BEGIN, limit=4) == Chunk(4, Cursor(1, 4))
    assert await groups.fire([firing], after=Cursor(1, 4), limit=4) == Chunk(0, None)
    assert await fire_times(rows) == [NOON + 2 * HOUR]
    assert await groups.fire([firing], after=BEGIN, limit=4) == Chunk(0, None), "the group has moved on"


async def test_pausing_cancels_what_waits_and_stops_firing(
    jobs: JobsService, tick: Tick, clock: FakeMarketClock, rows: Rows
) -> None:
    made = await jobs.create_schedule(OWNER, a_schedule())
    other = await jobs.create_schedule(OWNER, a_schedule("other"))
    clock.at = NOON + HOUR
    await tick.fire_due()
    paused = await jobs.pause_schedule(OWNER, made.id)
    assert (paused.enabled, paused.next_run_at, paused.version) == (False, None, 2)
    assert await jobs.pause_schedule(OWNER, made.id) == paused
    statuses = await rows.all("SELECT job_id, status FROM job_schedule_runs ORDER BY job_id")
    assert [tuple(row) for row in statuses] == [(made.id, "CANCELLED"), (other.id, "PENDING")]
    clock.at = NOON + 2 * HOUR
    assert await tick.fire_due() == 1


async def test_a_schedule_that_is_paused_while_a_tick_fires_it_shows_no_next_run(
    database: Database, jobs: JobsService, tick: Tick, clock: FakeMarketClock, rows: Rows, eventually: Eventually
) -> None:
    made = await jobs.create_schedule(OWNER, a_schedule())
    clock.at = NOON + HOUR
    async with database.transaction() as person:
        await person.execute(text("UPDATE job_schedules SET enabled = false, next_run_at = NULL"))
        firing = asyncio.create_task(tick.fire_due())
        await eventually(rows.somebody_waits_for_a_lock)
    await firing
    assert (await jobs.get_schedule(OWNER, made.id)).next_run_at is None


async def test_a_resumed_schedule_does_not_fire_old_instants(
    jobs: JobsService, tick: Tick, clock: FakeMarketClock, rows: Rows
) -> None:
    made = await jobs.create_schedule(OWNER, a_schedule())
    await jobs.create_schedule(OWNER, a_schedule("keeps the group awake"))
    await jobs.pause_schedule(OWNER, made.id)
    clock.at = NOON + timedelta(hours=3, minutes=5)
    resumed = await jobs.resume_schedule(OWNER, made.id)
    assert (resumed.enabled, resumed.next_run_at) == (True, NOON + 4 * HOUR)
    assert await tick.fire_due() == 1, "the other one is due since one o'clock"
    assert await rows.column("SELECT job_id FROM job_schedule_runs") == [2]
    clock.at = NOON + 4 * HOUR
    assert await tick.fire_due() == 2


async def test_a_deleted_schedule_is_gone_and_its_runs_stay(
    jobs: JobsService, tick: Tick, clock: FakeMarketClock, rows: Rows
) -> None:
    made = await jobs.create_schedule(OWNER, a_schedule())
    clock.at = NOON + HOUR
    await tick.fire_due()
    assert await jobs.delete_schedule(OWNER, made.id)
    with pytest.raises(NotFound):
        await jobs.delete_schedule(OWNER, made.id)
    assert await jobs.list_schedules(OWNER) == []
    assert await rows.statuses() == {"CANCELLED": 1}
    clock.at = NOON + 2 * HOUR
    assert await tick.fire_due() == 0


async def test_a_group_that_nobody_needs_sleeps_and_wakes_when_it_is_needed_again(
    jobs: JobsService, tick: Tick, clock: FakeMarketClock, rows: Rows
) -> None:
    made = await jobs.create_schedule(OWNER, a_schedule())
    await jobs.pause_schedule(OWNER, made.id)
    clock.at = NOON + HOUR
    assert await tick.fire_due() == 0
    assert await fire_times(rows) == [None]
    assert await tick.rings_at() is None
    await jobs.resume_schedule(OWNER, made.id)
    assert await fire_times(rows) == [NOON + 2 * HOUR]
    await jobs.delete_schedule(OWNER, made.id)
    clock.at = NOON + 2 * HOUR
    assert await tick.fire_due() == 0
    assert await fire_times(rows) == [None]
    await jobs.create_schedule(OWNER, a_schedule("new"))
    assert await fire_times(rows) == [NOON + 3 * HOUR]


@pytest.mark.parametrize("how", ["resumed", "added"])
async def test_a_group_wakes_for_one_that_joins_while_a_tick_lets_it_sleep(
    database: Database, jobs: JobsService, clock: FakeMarketClock, rows: Rows, eventually: Eventually, how: str
) -> None:
    made = await jobs.create_schedule(OWNER, a_schedule())
    await jobs.pause_schedule(OWNER, made.id)
    clock.at = NOON + HOUR
    async with database.transaction() as tick:
        await tick.execute(text("SELECT id FROM schedule_groups FOR UPDATE"))
        joining: asyncio.Task[Schedule] = asyncio.create_task(
            jobs.resume_schedule(OWNER, made.id)
            if how == "resumed"
            else jobs.create_schedule(OWNER, a_schedule("new"))
        )
        await eventually(rows.somebody_waits_for_a_lock)
        await tick.execute(text("UPDATE schedule_groups SET next_fire_at = NULL"))
    await joining
    assert await fire_times(rows) == [NOON + 2 * HOUR]


async def test_ticks_and_users_at_once_lose_no_schedule(
    jobs: JobsService, tick: Tick, clock: FakeMarketClock, rows: Rows
) -> None:
    made = [await jobs.create_schedule(OWNER, a_schedule(f"n{n}")) for n in range(6)]

    async def restless(schedule: Schedule) -> None:
        for _ in range(4):
            await jobs.pause_schedule(OWNER, schedule.id)
            await jobs.resume_schedule(OWNER, schedule.id)

    async def ticking() -> None:
        for hour in range(1, 9):
            clock.at = NOON + hour * HOUR
            await tick.fire_due()

    await asyncio.gather(ticking(), *(restless(schedule) for schedule in made))
    await tick.fire_due()  # a group that a user held at the last tick was left to the next one
    clock.at = NOON + 10 * HOUR
    await rows.change("DELETE FROM job_schedule_runs")
    assert await tick.fire_due() == 6
    assert await fire_times(rows) == [NOON + 11 * HOUR]


async def test_a_group_that_another_scheduler_is_at_is_left_to_it(
    database: Database, jobs: JobsService, groups: PostgresGroups, tick: Tick, clock: FakeMarketClock
) -> None:
    await jobs.create_schedule(OWNER, a_schedule())
    clock.at = NOON + HOUR
    async with database.transaction() as other:
        await other.execute(text("SELECT id FROM schedule_groups FOR UPDATE"))
        assert await tick.fire_due() == 0
    assert await tick.fire_due() == 1


async def test_a_group_that_is_gone_fires_nothing(groups: PostgresGroups) -> None:
    firing = firing_of(FireTimes(HOURLY, "UTC"), DueGroup(99, HOURLY, "UTC", NOON), NOON)
    assert await groups.fire([firing], after=BEGIN, limit=10) == Chunk(0, None)


async def test_the_timer_is_told_the_earliest_instant(jobs: JobsService, groups: PostgresGroups) -> None:
    assert await groups.next_fire_at() is None
    await jobs.create_schedule(OWNER, a_schedule(cron="0 0 * * *"))
    await jobs.create_schedule(OWNER, a_schedule())
    assert await groups.next_fire_at() == NOON + HOUR
