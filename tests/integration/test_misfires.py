"""Misfires in the database: what still runs, and the one row of a schedule and gap for what does not."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from atf.errors import InvariantViolation
from atf.schedules.catch_up import firing_of
from atf.schedules.fire_times import FireTimes
from atf.schedules.group_store import Cursor
from atf.schedules.tick import Tick
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

    from atf.testing.clocks import FakeMarketClock

NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
GAPS = "SELECT schedule_id, count, first_at, last_at, reason FROM job_misfires ORDER BY schedule_id, first_at"
RUNS = "SELECT job_id, scheduled_for FROM job_schedule_runs ORDER BY job_id, scheduled_for"


@pytest.fixture
def groups(database: Database) -> PostgresGroups:
    return PostgresGroups(database, is_replay=False)


@pytest.fixture
def tick(groups: PostgresGroups, market_clock: FakeMarketClock) -> Tick:
    market_clock.at = NOON
    return Tick(groups, market_clock)


async def a_group(
    rows: Rows, *, cron: str = "* * * * *", due_at: datetime = NOON, calendar: str | None = None
) -> int:
    made = await rows.value(
        "INSERT INTO schedule_groups (cron, timezone, calendar, next_fire_at) "
        "VALUES (:cron, 'UTC', :calendar, :at) RETURNING id",
        cron=cron,
        calendar=calendar,
        at=due_at,
    )
    return int(made)


async def a_schedule(rows: Rows, group_id: int, policy: str = "run_all", **changes: Any) -> int:
    values = {
        "job_type": "report",
        "grace": 30,
        "coalesce": False,
        "from": NOON - 999 * HOUR,
        "priority": 0,
        "attempts": None,
        "runtime": None,
        "delay": None,
        "user": 1,
        **changes,
    }
    made = await rows.value(
        """
        INSERT INTO job_schedules (user_id, name, job_type, target, cron, effective_from, next_run_at, group_id,
                                   misfire_policy, misfire_grace_seconds, "coalesce", priority, max_attempts,
                                   max_runtime_seconds, retry_delay_seconds)
        SELECT :user, 'n', :job_type, 'all', cron, :from, next_fire_at, id, :policy, :grace, :coalesce, :priority,
               :attempts, :runtime, :delay
        FROM schedule_groups WHERE id = :group_id RETURNING id
        """,
        group_id=group_id,
        policy=policy,
        **values,
    )
    return int(made)


async def runs(rows: Rows) -> list[tuple[int, datetime]]:
    return [tuple(row) for row in await rows.all(RUNS)]


async def gaps(rows: Rows) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await rows.all(GAPS)]


async def test_each_policy_fires_and_misses_its_own_of_the_same_gap(
    tick: Tick, market_clock: FakeMarketClock, rows: Rows
) -> None:
    group = await a_group(rows)
    skip = await a_schedule(rows, group, "skip")
    once = await a_schedule(rows, group, "run_once")
    every = await a_schedule(rows, group, "run_all", grace=180)
    one = await a_schedule(rows, group, "run_all", grace=180, coalesce=True)
    alert = await a_schedule(rows, group, "skip", job_type="alert")
    market_clock.at = NOON + 4 * MINUTE + 45 * SECOND
    assert await tick.fire_due() == 6
    newest = NOON + 4 * MINUTE
    assert await runs(rows) == [
        (once, newest), (every, newest - 2 * MINUTE), (every, newest - MINUTE), (every, newest), (one, newest),
        (alert, newest),
    ]  # fmt: skip
    assert await gaps(rows) == [
        (skip, 5, NOON, newest, "late"),
        (once, 4, NOON, newest - MINUTE, "coalesced"),
        (every, 2, NOON, NOON + MINUTE, "late"),
        (one, 4, NOON, newest - MINUTE, "late"),
        (alert, 4, NOON, newest - MINUTE, "coalesced"),
    ]
    assert tick.missed == 19


async def test_a_run_within_the_grace_time_is_no_misfire(
    tick: Tick, market_clock: FakeMarketClock, rows: Rows
) -> None:
    schedule = await a_schedule(rows, await a_group(rows, cron="0 * * * *"), "skip", grace=30)
    market_clock.at = NOON + 30 * SECOND
    assert await tick.fire_due() == 1
    assert await runs(rows) == [(schedule, NOON)]
    assert await gaps(rows) == []


async def test_a_run_past_the_grace_time_does_not_run_and_is_told_of(
    tick: Tick, market_clock: FakeMarketClock, rows: Rows
) -> None:
    schedule = await a_schedule(rows, await a_group(rows, cron="0 * * * *"), "skip", grace=30)
    market_clock.at = NOON + 31 * SECOND
    assert await tick.fire_due() == 0
    assert await gaps(rows) == [(schedule, 1, NOON, NOON, "late")]
    assert await rows.value("SELECT next_run_at FROM job_schedules") == NOON + HOUR
    assert await rows.value("SELECT next_fire_at FROM schedule_groups") == NOON + HOUR


async def test_run_all_is_capped_at_a_hundred(tick: Tick, market_clock: FakeMarketClock, rows: Rows) -> None:
    schedule = await a_schedule(rows, await a_group(rows), "run_all", grace=86_400)
    market_clock.at = NOON + 150 * MINUTE
    assert await tick.fire_due() == 100
    assert await gaps(rows) == [(schedule, 51, NOON, NOON + 50 * MINUTE, "capped")]


async def test_a_week_of_missed_seconds_is_one_row_counted_exactly_and_blocks_nobody(
    tick: Tick, market_clock: FakeMarketClock, rows: Rows
) -> None:
    group = await a_group(rows, cron="* * * * * *")
    old = await a_schedule(rows, group, "run_all")
    begins = NOON + 86_400 * SECOND - SECOND / 2
    young = await a_schedule(rows, group, "run_once", **{"from": begins})
    unborn = await a_schedule(rows, group, "run_all", **{"from": NOON + 700_000 * SECOND})
    market_clock.at = NOON + 604_800 * SECOND
    longest = asyncio.create_task(longest_wait())
    assert await tick.fire_due() == 32
    longest.cancel()
    assert await longest < 0.1
    assert await gaps(rows) == [
        (old, 604_770, NOON, NOON + 604_769 * SECOND, "late"),
        (young, 518_400, NOON + 86_400 * SECOND, NOON + 604_799 * SECOND, "coalesced"),
    ]
    assert {job_id for job_id, _ in await runs(rows)} == {old, young}
    assert unborn not in {old, young}


async def longest_wait() -> float:
    """The longest that the event loop kept this task waiting, told when it is cancelled."""
    longest, before = 0.0, time.perf_counter()
    try:
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now
    except asyncio.CancelledError:
        return longest


async def test_a_schedule_of_yesterday_misses_only_what_came_after_it(
    tick: Tick, market_clock: FakeMarketClock, rows: Rows
) -> None:
    group = await a_group(rows)
    schedule = await a_schedule(rows, group, "run_all", grace=90, **{"from": NOON + 2 * MINUTE})
    late = await a_schedule(rows, group, "run_all", grace=90, **{"from": NOON + 5 * MINUTE + SECOND})
    market_clock.at = NOON + 5 * MINUTE + 2 * SECOND
    assert await tick.fire_due() == 2
    assert await gaps(rows) == [(schedule, 2, NOON + 2 * MINUTE, NOON + 3 * MINUTE, "late")]
    assert late not in {job_id for job_id, _ in await runs(rows)}


async def test_a_tick_done_again_adds_no_run_and_no_gap(
    tick: Tick, market_clock: FakeMarketClock, rows: Rows
) -> None:
    await a_schedule(rows, await a_group(rows), "run_all", grace=90)
    market_clock.at = NOON + 5 * MINUTE
    await tick.fire_due()
    before = await runs(rows), await gaps(rows)
    await rows.change("UPDATE job_schedules SET next_run_at = NULL")
    await rows.change("UPDATE schedule_groups SET next_fire_at = :at", at=NOON)
    assert await tick.fire_due() == 0
    assert (await runs(rows), await gaps(rows)) == before


async def test_a_tick_that_died_half_way_is_completed_as_in_time_and_misses_nothing(
    groups: PostgresGroups, market_clock: FakeMarketClock, rows: Rows
) -> None:
    group = await a_group(rows, cron="0 * * * *")
    schedules = [await a_schedule(rows, group, policy) for policy in ("skip", "run_all", "skip", "run_all")]
    (due,) = await groups.due_groups(NOON)
    firing = firing_of(FireTimes(due.cron, due.timezone), due, NOON)
    assert (await groups.fire([firing], after=Cursor(0, 0), limit=2)).runs_created == 2
    market_clock.at = NOON + 10 * MINUTE
    assert await Tick(groups, market_clock).fire_due() == 2
    assert await runs(rows) == [(schedule, NOON) for schedule in schedules]
    assert await gaps(rows) == []


async def test_a_gap_goes_through_chunks_without_losing_a_schedule(
    tick: Tick, market_clock: FakeMarketClock, rows: Rows
) -> None:
    group = await a_group(rows)
    for _ in range(250):
        await a_schedule(rows, group, "run_all", grace=86_400)
    market_clock.at = NOON + 119 * MINUTE
    assert await tick.fire_due() == 25_000
    assert await rows.value("SELECT count(*) FROM job_misfires WHERE count = 20 AND reason = 'capped'") == 250


async def test_groups_are_fired_together_and_each_keeps_its_own(
    tick: Tick, market_clock: FakeMarketClock, rows: Rows
) -> None:
    first = await a_group(rows, cron="0 * * * *")
    second = await a_group(rows, cron="*/30 * * * *", due_at=NOON - 30 * MINUTE)
    third = await a_group(rows, cron="0 */2 * * *")
    ids = [await a_schedule(rows, group, "skip", grace=60) for group in (first, second, third)]
    assert await tick.fire_due() == 3
    assert await runs(rows) == [(schedule, NOON) for schedule in ids]
    assert await gaps(rows) == [(ids[1], 1, NOON - 30 * MINUTE, NOON - 30 * MINUTE, "late")]
    assert await rows.column("SELECT next_fire_at FROM schedule_groups ORDER BY id") == [
        NOON + HOUR, NOON + 30 * MINUTE, NOON + 2 * HOUR
    ]  # fmt: skip


@pytest.mark.parametrize("late", [timedelta(0), 20 * SECOND])
async def test_a_run_gets_its_place_in_the_queue_its_tries_and_its_limits(
    database: Database, market_clock: FakeMarketClock, rows: Rows, late: timedelta
) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('second', 'trader')")
    groups = PostgresGroups(
        database, is_replay=False, attempts={"report": 4}, retention_classes={"ping": "alert"}
    )
    group = await a_group(rows, cron="0 * * * *")
    await a_schedule(rows, group, "run_once", priority=2)
    await a_schedule(rows, group, "run_once", attempts=7, runtime=12.5)
    await a_schedule(rows, group, "run_once", job_type="alert", delay=3, user=2)
    await a_schedule(rows, group, "run_once", job_type="ping", runtime=1, delay=2)
    market_clock.at = NOON + late
    await Tick(groups, market_clock).fire_due()
    found = await rows.all(
        "SELECT retention_class, max_attempts, job_snapshot -> 'limits' AS limits, "
        "extract(epoch FROM sort_key - available_at)::float8 AS shift FROM job_schedule_runs ORDER BY job_id"
    )
    assert [tuple(row) for row in found] == [
        ("other", 4, None, 120.0),
        ("other", 7, {"max_runtime_seconds": 12.5}, 0.01),
        ("alert", 10, {"retry_delay_seconds": 3}, 0.0),
        ("alert", 3, {"max_runtime_seconds": 1, "retry_delay_seconds": 2}, 0.0),
    ]


async def test_a_group_whose_runs_cannot_be_stored_stops_no_other(
    database: Database, market_clock: FakeMarketClock, rows: Rows
) -> None:
    bad, good = await a_group(rows, cron="0 * * * *"), await a_group(rows, cron="0 */2 * * *")
    await a_schedule(rows, bad, "run_once", priority=2**31 - 1)
    schedule = await a_schedule(rows, good)
    market_clock.at = NOON
    tick = Tick(PostgresGroups(database, is_replay=False), market_clock)
    await rows.change("ALTER TABLE job_schedule_runs ADD CONSTRAINT sane CHECK (priority < 1000)")
    assert await tick.fire_due() == 1
    assert await runs(rows) == [(schedule, NOON)]
    assert tick.failing_groups == 1
    assert await tick.rings_at() is None or await tick.rings_at() == NOON + 2 * HOUR
    await rows.change("ALTER TABLE job_schedule_runs DROP CONSTRAINT sane")
    assert await tick.fire_due() == 1
    assert tick.failing_groups == 0


class Weekdays:
    name = "XNYS"
    zone = ZoneInfo("America/New_York")

    def is_session(self, day: date) -> bool:
        return day.weekday() < 5


class OneCalendar:
    async def load(self, name: str) -> Weekdays:
        assert name == "XNYS"
        return Weekdays()


async def test_a_schedule_with_a_calendar_skips_its_closed_days_without_a_misfire(
    groups: PostgresGroups, market_clock: FakeMarketClock, rows: Rows
) -> None:
    saturday = datetime(2024, 3, 9, 14, tzinfo=UTC)
    group = await a_group(rows, cron="0 14 * * *", due_at=saturday, calendar="XNYS")
    schedule = await a_schedule(rows, group, "run_all", grace=86_400)
    tick = Tick(groups, market_clock, OneCalendar())
    monday = saturday + 2 * 24 * HOUR
    market_clock.at = saturday + HOUR
    assert await tick.fire_due() == 0
    assert await rows.value("SELECT next_fire_at FROM schedule_groups") == monday
    assert await rows.value("SELECT next_run_at FROM job_schedules") == monday
    market_clock.at = monday
    assert await tick.fire_due() == 1
    assert await runs(rows) == [(schedule, monday)]
    assert await gaps(rows) == []


async def test_the_reason_of_a_gap_is_one_of_three(rows: Rows) -> None:
    schedule = await a_schedule(rows, await a_group(rows))
    with pytest.raises(InvariantViolation, match="reason"):
        await rows.change(
            "INSERT INTO job_misfires (schedule_id, count, first_at, last_at, reason) "
            "VALUES (:id, 1, now(), now(), 'bored')",
            id=schedule,
        )
