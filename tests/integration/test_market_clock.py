"""The replay's time: it moves session by session, and only when all of the last one is done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from atf.bootstrap.market import build_market_clock
from atf.errors import ConfigurationError, InvalidInput, InvariantViolation
from atf.jobs.job_type import JobTypes, as_given
from atf.jobs.job_types_builtin import builtin_types
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import JobType
from atf.market.bars import Bars, Series, Timeframe
from atf.market.market_clock import PacedMarketClock, ReplayMarketClock
from atf.schedules.schedule import ScheduleCreate
from atf.schedules.tick import Tick
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups
from atf.storage.market_clock_repository import _STEP, PostgresMarketClock
from atf.storage.schedules_repository import PostgresJobsRepository
from atf.testing.clocks import FakeClock

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows

DAY = timedelta(days=1)
FRIDAY, MONDAY, THURSDAY = (datetime(2024, 3, day, tzinfo=UTC) for day in (1, 4, 7))  # sessions with gaps between
CLOSES = [FRIDAY + DAY, MONDAY + DAY, THURSDAY + DAY]


@pytest.fixture
async def clock(database: Database) -> PostgresMarketClock:
    """A replay of three sessions that ends two weeks after them."""
    for symbol, days in {"AAPL": (FRIDAY, THURSDAY), "MSFT": (FRIDAY, MONDAY)}.items():
        bars = Bars.from_rows([(day, 1.0, 1.0, 1.0, 1.0, 1.0) for day in days])
        await PostgresBarStore(database).store(Series(symbol, Timeframe.D1), bars)
    hourly = Bars.from_rows([(FRIDAY + DAY, 1.0, 1.0, 1.0, 1.0, 1.0)])
    await PostgresBarStore(database).store(Series("AAPL", Timeframe.H1), hourly)
    made = PostgresMarketClock(database)
    await made.begin(Timeframe.D1, FRIDAY)
    await made.run_until(FRIDAY + 14 * DAY)
    return made


async def test_without_a_row_there_is_no_replay(database: Database) -> None:
    clock = PostgresMarketClock(database)
    assert await clock.find() is None
    assert not await clock.step()
    with pytest.raises(ConfigurationError, match="restart the services"):
        await clock.position()


async def test_there_is_one_replay_at_most(clock: PostgresMarketClock) -> None:
    with pytest.raises(InvariantViolation):
        await clock.begin(Timeframe.D1, FRIDAY)


async def test_it_stands_still_until_it_is_told_how_far_to_go(database: Database) -> None:
    clock = PostgresMarketClock(database)
    await clock.begin(Timeframe.D1, FRIDAY)
    assert not await clock.step()
    position = await clock.position()
    assert (position.begins_at, position.now_at, position.ends_at) == (FRIDAY, FRIDAY, FRIDAY)
    assert position.is_finished


async def test_it_moves_from_close_to_close_over_the_gaps_and_ends_at_its_end(clock: PostgresMarketClock) -> None:
    seen = []
    while await clock.step():
        position = await clock.position()
        seen.append((position.now_at, position.step))
    assert seen == [(at, step) for step, at in enumerate([*CLOSES, FRIDAY + 14 * DAY], start=1)]
    assert (await clock.position()).is_finished
    assert not await clock.step()


async def test_it_never_moves_beyond_its_end(clock: PostgresMarketClock) -> None:
    middle = MONDAY + timedelta(hours=1)
    await clock.run_until(middle)
    assert [await clock.step() for _ in range(3)] == [True, True, False]
    assert (await clock.position()).now_at == middle


async def test_it_waits_for_groups_that_are_due(clock: PostgresMarketClock, rows: Rows) -> None:
    await rows.change(
        "INSERT INTO schedule_groups (cron, timezone, next_fire_at) VALUES ('x', 'UTC', :at)", at=FRIDAY
    )
    assert not await clock.step()
    await rows.change("UPDATE schedule_groups SET next_fire_at = :at", at=FRIDAY + timedelta(seconds=1))
    assert await clock.step()
    assert not await clock.step(), "the close of Friday made it due"
    await rows.change("UPDATE schedule_groups SET next_fire_at = NULL")
    assert await clock.step()


@pytest.mark.parametrize(
    ("status", "waits"),
    [("PENDING", True), ("RUNNING", True), ("COMPLETED", False), ("FAILED", False), ("CANCELLED", False)],
)
async def test_it_waits_for_runs_that_have_not_ended(
    clock: PostgresMarketClock, rows: Rows, status: str, waits: bool
) -> None:
    await rows.pending_runs(3, available_in=timedelta(hours=1))
    await rows.change("UPDATE job_schedule_runs SET status = 'CANCELLED' WHERE job_id > 1")
    if status != "PENDING":
        await rows.change("UPDATE job_schedule_runs SET status = 'RUNNING' WHERE job_id = 1")
    await rows.change("UPDATE job_schedule_runs SET status = :status WHERE job_id = 1", status=status)
    assert await clock.step() is not waits


async def test_steppers_at_once_see_each_session(
    clock: PostgresMarketClock, database: Database, rows: Rows
) -> None:
    """Each session becomes due for a group, as for a tick; a step beyond it would pass it over."""
    await rows.change(
        "INSERT INTO schedule_groups (cron, timezone, next_fire_at) VALUES ('x', 'UTC', :at)", at=CLOSES[0]
    )
    upcoming = [*CLOSES[1:], None]
    for close, following in zip(CLOSES, upcoming, strict=True):
        moved = await asyncio.gather(*(PostgresMarketClock(database).step() for _ in range(4)))
        assert sorted(moved) == [False, False, False, True]
        assert (await clock.position()).now_at == close
        await rows.change("UPDATE schedule_groups SET next_fire_at = :at", at=following)


async def test_a_step_judges_after_anothers_step_has_ended(
    clock: PostgresMarketClock, database: Database, rows: Rows, eventually: Eventually
) -> None:
    await rows.change(
        "INSERT INTO schedule_groups (cron, timezone, next_fire_at) VALUES ('x', 'UTC', :at)", at=MONDAY
    )
    async with database.transaction() as other:
        await other.execute(text("UPDATE market_clock SET now_at = :at"), {"at": MONDAY})
        stepping = asyncio.create_task(clock.step())
        await eventually(rows.somebody_waits_for_a_lock)
    assert not await stepping, "the other's step made the group due"


async def test_a_step_does_not_read_all_the_bars_that_are_to_come(
    clock: PostgresMarketClock, database: Database, rows: Rows
) -> None:
    await rows.change(
        """
        INSERT INTO market_bars
        SELECT 'S' || s, '1d', CAST(:begin AS timestamptz) + n * interval '1 day', 1, 1, 1, 1, 1
        FROM generate_series(1, 50) AS s, generate_series(1, 400) AS n
        """,
        begin=FRIDAY,
    )
    await rows.change("ANALYZE market_bars")
    async with database.transaction() as connection:
        explained = await connection.execute(
            text(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {_STEP.text}"), {"length": DAY}
        )
        plan = "\n".join(explained.scalars())
    assert "Seq Scan on market_bars" not in plan
    assert "Bitmap" not in plan
    assert (await clock.position()).now_at == CLOSES[0]


# --- at a speed of its own ---


@pytest.fixture
async def paced(database: Database) -> PostgresMarketClock:
    """A replay of three days at an hour a second."""
    made = PostgresMarketClock(database)
    await made.begin(Timeframe.H1, FRIDAY, speed=3600)
    await made.run_until(FRIDAY + 3 * DAY)
    return made


async def started_at(clock: PostgresMarketClock) -> datetime:
    pace = (await clock.position()).pace
    assert pace is not None
    return pace.started_at


async def at_wall(store: PostgresMarketClock, wall: datetime) -> datetime:
    """Market time as a process sees it whose wall clock stands there."""
    pace = (await store.position()).pace
    assert pace is not None
    return await PacedMarketClock(store, FakeClock(wall), pace).now()


async def test_a_row_with_a_speed_makes_a_clock_that_moves_by_itself(
    paced: PostgresMarketClock, database: Database
) -> None:
    clock = await build_market_clock(database)
    assert isinstance(clock, PacedMarketClock)
    assert clock.is_replay
    begun = await started_at(paced)
    seen = [await at_wall(paced, begun + timedelta(seconds=seconds)) for seconds in (0, 1, 71, 72, 9999)]
    assert seen == [FRIDAY + timedelta(hours=hours) for hours in (0, 1, 71, 72, 72)]


async def test_a_row_without_a_speed_still_moves_in_steps(clock: PostgresMarketClock, database: Database) -> None:
    assert isinstance(await build_market_clock(database), ReplayMarketClock)
    assert (await clock.position()).pace is None


async def test_a_replay_with_a_speed_makes_no_steps(paced: PostgresMarketClock) -> None:
    before = await paced.position()
    assert not await paced.step()
    assert await paced.position() == before


async def test_its_time_begins_when_it_may_run_and_not_while_it_is_prepared(
    database: Database, rows: Rows
) -> None:
    store = PostgresMarketClock(database)
    await store.begin(Timeframe.H1, FRIDAY, speed=60)
    await rows.change("UPDATE market_clock SET started_at = now() - interval '1 hour'")
    assert await at_wall(store, datetime.now(UTC)) == FRIDAY
    await store.run_until(FRIDAY + DAY)
    assert await at_wall(store, await started_at(store) + timedelta(minutes=1)) == FRIDAY + timedelta(hours=1)
    assert await started_at(store) > datetime.now(UTC) - timedelta(minutes=30)


async def test_it_goes_on_from_its_old_end_and_a_running_one_is_not_disturbed(
    paced: PostgresMarketClock, rows: Rows
) -> None:
    begun = await started_at(paced)
    await paced.run_until(FRIDAY + 4 * DAY)
    assert await started_at(paced) == begun
    await rows.change("UPDATE market_clock SET started_at = now() - interval '1 day'")
    await paced.run_until(FRIDAY + 9 * DAY)
    moved = await rows.value("SELECT now() - started_at FROM market_clock")
    assert timedelta(seconds=96) <= moved < timedelta(minutes=30), "four days of it took 96 seconds"


async def test_a_schedule_is_due_at_the_pace_of_the_replay(
    paced: PostgresMarketClock, database: Database, rows: Rows
) -> None:
    begun = await started_at(paced)
    pace = (await paced.position()).pace
    assert pace is not None
    wall = FakeClock(begun + timedelta(seconds=1, milliseconds=500))
    clock = PacedMarketClock(paced, wall, pace)
    await rows.partitions(FRIDAY)
    unchecked = JobTypes([replace(one, check=lambda *_: None, fill=as_given) for one in builtin_types()])
    jobs = JobsService(PostgresJobsRepository(database), clock, types=unchecked)
    hourly = ScheduleCreate(name="hourly", job_type=JobType.REPORT, target="all", cron="0 * * * *")
    await jobs.create_schedule(1, hourly)
    tick = Tick(PostgresGroups(database, is_replay=True), clock)
    assert await tick.rings_at() == begun + timedelta(seconds=2)
    assert await tick.fire_due() == 0
    wall.at = begun + timedelta(seconds=2)
    assert await tick.fire_due() == 1
    assert await tick.rings_at() == begun + timedelta(seconds=3)
    run = (await rows.all("SELECT scheduled_for, retention_class FROM job_schedule_runs"))[0]
    assert (run.scheduled_for, run.retention_class) == (FRIDAY + timedelta(hours=2), "replay")


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
async def test_a_speed_is_a_number_above_zero(database: Database, speed: float) -> None:
    with pytest.raises(InvalidInput, match="speed must be a number above 0"):
        await PostgresMarketClock(database).begin(Timeframe.D1, FRIDAY, speed=speed)
