from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from atf.errors import DatabaseUnavailable, InvalidInput, TransactionConflict
from atf.market.bars import Timeframe
from atf.market.market_clock import LiveMarketClock, MarketClock, ReplayMarketClock, ReplayPosition
from atf.schedules.catch_up import firing_of
from atf.schedules.fire_times import FireTimes
from atf.schedules.group_store import Chunk, Cursor, DueGroup, Firing, GapOfGroup, GroupRules, Mark
from atf.schedules.misfire import MisfirePolicy, MisfireRule, Missed, MissedReason, Plan
from atf.schedules.tick import Tick
from atf.testing.clocks import FakeMarketClock

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SKIP = MisfireRule(False, MisfirePolicy.SKIP, 30 * SECOND, False)
ALL = MisfireRule(False, MisfirePolicy.RUN_ALL, 30 * SECOND, False)
ONCE = MisfireRule(False, MisfirePolicy.RUN_ONCE, 30 * SECOND, False)


def group(
    cron: str, next_fire_at: datetime, timezone: str = "UTC", *, group_id: int = 1, calendar: str | None = None
) -> DueGroup:
    return DueGroup(group_id, cron, timezone, next_fire_at, calendar)


class WallClock:
    def __init__(self, now: datetime = NOON) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time


class FakeGroups:
    """Groups that are due and advance when they are fired, in the chunks that a test wants."""

    def __init__(self, *due: DueGroup, chunks: list[Chunk] | None = None) -> None:
        self.due = list(due)
        self.chunks = chunks or []
        self.fired: list[tuple[Firing, Cursor, int]] = []
        self.earliest: datetime | None = None
        self.parked: list[DueGroup] = []
        self.group_rules = GroupRules((ONCE,))
        self.asked_for_rules = 0
        self.group_starts: Sequence[datetime] = ()
        self.gaps: list[GapOfGroup] = []
        self.errors: dict[int, Exception] = {}
        self.without: tuple[int, ...] = ()
        self.page = 1000

    async def due_groups(self, now: datetime, *, after: DueGroup | None = None) -> list[DueGroup]:
        passed = (after.next_fire_at, after.group_id) if after else (now - 99_999 * HOUR, 0)
        due = [one for one in self.due if one.next_fire_at <= now and (one.next_fire_at, one.group_id) > passed]
        return sorted(due, key=lambda one: (one.next_fire_at, one.group_id))[: self.page]

    async def rules(self, groups: Sequence[DueGroup]) -> Mapping[int, GroupRules]:
        self.asked_for_rules += 1
        return {one.group_id: self.group_rules for one in groups}

    async def starts(self, gaps: Sequence[GapOfGroup]) -> Mapping[int, Sequence[datetime]]:
        self.gaps += gaps
        return {gap.group_id: self.group_starts for gap in gaps}

    async def fire(self, firings: Sequence[Firing], *, after: Cursor, limit: int) -> Chunk:
        for firing in firings:
            if error := self.errors.get(firing.group.group_id):
                raise error
        self.fired += [(firing, after, limit) for firing in firings]
        return self.chunks.pop(0) if self.chunks else Chunk(len(firings), None)

    async def count_active(self) -> int:
        return len(self.due)

    async def park(self, group: DueGroup) -> None:
        self.parked.append(group)

    async def next_fire_at(self, *, without: Sequence[int] = ()) -> datetime | None:
        self.without = tuple(without)
        return self.earliest

    @property
    def only(self) -> Firing:
        (fired,) = self.fired
        return fired[0]

    def plan(self, rule: MisfireRule) -> Plan:
        assert self.only.catch_up is not None
        return self.only.catch_up.plans[rule]


class Weekdays:
    name = "XNYS"
    zone = ZoneInfo("America/New_York")

    def is_session(self, day: date) -> bool:
        return day.weekday() < 5


class FakeCalendars:
    async def load(self, name: str) -> Weekdays:
        if name != "XNYS":
            raise InvalidInput("unknown", field="calendar")
        return Weekdays()


def tick_at(groups: FakeGroups, now: datetime = NOON) -> Tick:
    return Tick(groups, FakeMarketClock(now), FakeCalendars())


def due_of(one: DueGroup, now: datetime) -> Firing:
    return firing_of(FireTimes(one.cron, one.timezone), one, now)


async def test_a_group_whose_zone_is_gone_is_parked_and_holds_up_no_other() -> None:
    lost = group("0 * * * *", NOON, "Mars/Olympus", group_id=2)
    groups = FakeGroups(lost, group("0 * * * *", NOON), chunks=[Chunk(3, None)])
    assert await tick_at(groups).fire_due() == 3
    assert groups.parked == [lost]


@pytest.mark.parametrize(
    ("missed", "count"), [(timedelta(0), 1), (MINUTE, 2), (HOUR * 5, 301), (timedelta(days=400), 576_001)]
)
def test_due_instants_are_counted_whole(missed: timedelta, count: int) -> None:
    firing = due_of(group("* * * * *", NOON - missed), NOON + timedelta(seconds=59))
    assert firing.due is not None
    assert (firing.due.count, firing.due.first, firing.due.newest[-1]) == (count, NOON - missed, NOON)
    assert len(firing.due.newest) == min(count, 3)
    assert firing.next_fire_at == NOON + MINUTE


def test_next_instant_is_strictly_after_now() -> None:
    firing = due_of(group("0 * * * *", NOON), NOON)
    assert (firing.until, firing.next_fire_at) == (NOON, NOON + HOUR)


def test_seconds_and_zones_are_respected() -> None:
    firing = due_of(group("*/30 * * * * *", NOON), NOON + timedelta(seconds=31))
    assert firing.until == NOON + timedelta(seconds=30)
    daily = due_of(group("0 9 * * *", NOON - timedelta(days=3), "America/New_York"), NOON)
    assert daily.until == datetime(2027, 2, 28, 14, tzinfo=UTC)
    assert daily.next_fire_at == datetime(2027, 3, 1, 14, tzinfo=UTC)


def test_instant_that_the_expression_does_not_have_is_fired_once_as_it_was_stored() -> None:
    """The row may be older than a change of the zone's rules."""
    odd = NOON - timedelta(seconds=30)
    firing = due_of(group("0 * * * *", odd), NOON - timedelta(seconds=1))
    assert (firing.until, firing.due and firing.due.count) == (odd, 1)


async def test_group_is_fired_chunk_by_chunk_until_all_its_runs_are_stored() -> None:
    chunks = [Chunk(10_000, Cursor(1, 12_345)), Chunk(9_999, Cursor(1, 23_456)), Chunk(7, None)]
    groups = FakeGroups(group("0 * * * *", NOON), chunks=chunks)
    assert await tick_at(groups).fire_due() == 20_006
    assert [(after, limit) for _, after, limit in groups.fired] == [
        (Cursor(0, 0), 10_000),
        (Cursor(1, 12_345), 10_000),
        (Cursor(1, 23_456), 10_000),
    ]
    assert len({firing.group for firing, _, _ in groups.fired}) == 1


async def test_groups_that_are_done_are_not_fired_again_with_the_next_chunk() -> None:
    due = [group("0 * * * *", NOON, group_id=n) for n in (3, 1, 2)]
    groups = FakeGroups(*due, chunks=[Chunk(10_000, Cursor(2, 5)), Chunk(1, None)])
    await tick_at(groups).fire_due()
    assert [firing.group.group_id for firing, _, _ in groups.fired] == [1, 2, 3, 2, 3]


async def test_nothing_due_fires_nothing() -> None:
    groups = FakeGroups(group("0 * * * *", NOON + HOUR))
    assert await tick_at(groups).fire_due() == 0
    assert groups.fired == []


async def test_all_pages_of_due_groups_are_fired_as_of_one_instant() -> None:
    groups = FakeGroups(*(group("0 * * * *", NOON, group_id=n) for n in range(1, 8)))
    groups.page = 3
    assert await tick_at(groups).fire_due() == 7
    assert sorted(firing.group.group_id for firing, _, _ in groups.fired) == list(range(1, 8))


async def test_what_is_due_once_and_in_time_needs_no_plan() -> None:
    groups = FakeGroups(group("0 * * * *", NOON))
    await tick_at(groups, NOON + SECOND / 2).fire_due()
    assert (groups.asked_for_rules, groups.only.catch_up) == (0, None)


@pytest.mark.parametrize("now", [NOON + SECOND, NOON + HOUR])
async def test_what_is_late_or_due_twice_is_planned_by_the_rules(now: datetime) -> None:
    groups = FakeGroups(group("0 * * * *", NOON))
    groups.group_rules = GroupRules((SKIP, ALL, ONCE))
    await tick_at(groups, now).fire_due()
    assert groups.only.catch_up is not None
    assert set(groups.only.catch_up.plans) == {SKIP, ALL, ONCE}


async def test_what_is_later_than_the_grace_time_is_missed() -> None:
    groups = FakeGroups(group("0 * * * *", NOON))
    groups.group_rules = GroupRules((SKIP, ONCE))
    await tick_at(groups, NOON + 31 * SECOND).fire_due()
    assert groups.plan(SKIP) == Plan((), Missed(1, NOON, NOON, MissedReason.LATE))
    assert groups.plan(ONCE) == Plan((NOON,), None)


class MovingClock(FakeMarketClock):
    """Each question costs time, so that a look lasts as long as the test wants."""

    def __init__(self, *instants: datetime) -> None:
        super().__init__(instants[0])
        self.instants = list(instants)

    async def now(self) -> datetime:
        return self.instants.pop(0)


async def test_what_came_due_while_the_last_look_was_at_work_is_late_from_its_end_on() -> None:
    groups = FakeGroups()
    groups.group_rules = GroupRules((SKIP,))
    looked_until = NOON + 10 * MINUTE
    tick = Tick(groups, MovingClock(NOON, looked_until, looked_until + 20 * SECOND, looked_until + MINUTE))
    await tick.fire_due()
    groups.due = [group("5 12 * * *", NOON + 5 * MINUTE)]
    await tick.fire_due()
    assert groups.plan(SKIP).fires == (NOON + 5 * MINUTE,)


async def test_what_was_due_before_the_last_look_is_as_late_as_it_is() -> None:
    groups = FakeGroups()
    groups.group_rules = GroupRules((SKIP,))
    tick = Tick(groups, MovingClock(NOON, NOON + 10 * MINUTE, NOON + 10 * MINUTE, NOON + 10 * MINUTE))
    await tick.fire_due()
    groups.due = [group("0 * * * *", NOON)]
    await tick.fire_due()
    assert groups.plan(SKIP).fires == ()


async def test_a_look_that_failed_excuses_nothing() -> None:
    groups = FakeGroups(group("* * * * *", NOON))
    groups.group_rules = GroupRules((SKIP,))
    groups.errors = {1: DatabaseUnavailable("gone")}
    tick = Tick(groups, MovingClock(NOON, NOON + MINUTE + 45 * SECOND, NOON + MINUTE + 45 * SECOND))
    with pytest.raises(DatabaseUnavailable):
        await tick.fire_due()
    groups.errors = {}
    await tick.fire_due()
    assert groups.plan(SKIP).fires == ()


@pytest.mark.parametrize("later", [MINUTE, HOUR + MINUTE])
async def test_what_an_earlier_tick_began_in_time_is_completed_however_late(later: timedelta) -> None:
    groups = FakeGroups(group("0 * * * *", NOON))
    groups.group_rules = GroupRules((SKIP,), begun_until=NOON + HOUR)
    await tick_at(groups, NOON + later).fire_due()
    assert groups.plan(SKIP) == Plan((NOON,), None)
    assert groups.only.next_fire_at == NOON + HOUR, "what has come since is for the next tick"


async def test_as_many_instants_are_kept_as_may_fire() -> None:
    groups = FakeGroups(group("* * * * * *", NOON - 24 * HOUR))
    groups.group_rules = GroupRules((ALL,))
    await tick_at(groups).fire_due()
    fires = tuple(NOON - n * SECOND for n in range(30, -1, -1))
    assert groups.plan(ALL) == Plan(
        fires, Missed(86_401 - 31, NOON - 24 * HOUR, NOON - 31 * SECOND, MissedReason.LATE)
    )


async def test_in_a_replay_nothing_is_late() -> None:
    groups = FakeGroups(group("0 * * * *", NOON - 5 * HOUR))
    groups.group_rules = GroupRules((ALL,))
    await Tick(groups, FakeMarketClock(NOON, is_replay=True)).fire_due()
    assert len(groups.plan(ALL).fires) == 6


async def test_where_a_schedule_begins_inside_a_long_gap_is_counted_exactly() -> None:
    groups = FakeGroups(group("* * * * * *", NOON - 24 * HOUR))
    groups.group_rules = GroupRules((ONCE,), has_younger=True)
    groups.group_starts = [NOON - 23 * HOUR - SECOND / 2]
    await tick_at(groups).fire_due()
    assert groups.gaps == [GapOfGroup(1, NOON - 24 * HOUR, NOON - 2 * SECOND)]
    assert groups.only.catch_up is not None
    first, start, *kept = groups.only.catch_up.marks
    assert first == Mark(NOON - 24 * HOUR, 0)
    assert start == Mark(NOON - 23 * HOUR, 3600)
    assert kept == [Mark(NOON - (2 - n) * SECOND, 86_398 + n) for n in range(3)]


async def test_where_no_schedule_begins_in_the_gap_nobody_asks_where_schedules_begin() -> None:
    groups = FakeGroups(group("* * * * *", NOON - HOUR))
    await tick_at(groups).fire_due()
    assert groups.gaps == []


async def test_a_day_that_is_no_session_fires_nothing_and_misses_nothing() -> None:
    saturday = datetime(2027, 3, 6, 14, tzinfo=UTC)
    groups = FakeGroups(group("0 9 * * *", saturday, "America/New_York", calendar="XNYS"))
    await tick_at(groups, saturday + MINUTE).fire_due()
    assert groups.plan(ONCE) == Plan((), None)
    assert groups.only.next_fire_at == saturday + timedelta(days=2)


async def test_a_calendar_that_is_gone_parks_its_groups() -> None:
    lost = group("0 9 * * *", NOON, calendar="XXXX")
    groups = FakeGroups(lost)
    await tick_at(groups).fire_due()
    assert groups.parked == [lost]


async def test_a_group_that_cannot_be_stored_stops_no_other_and_is_told_of() -> None:
    groups = FakeGroups(*(group("0 * * * *", NOON, group_id=n) for n in (1, 2, 3)))
    groups.errors = {2: ValueError("broken")}
    tick = tick_at(groups)
    assert await tick.fire_due() == 2
    assert tick.failing_groups == 1
    await tick.rings_at()
    assert groups.without == (2,), "the timer must not ring for it without end"
    groups.errors = {}
    await tick.fire_due()
    assert tick.failing_groups == 0


async def test_a_group_that_goes_on_failing_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    groups = FakeGroups(group("0 * * * *", NOON))
    groups.errors = {1: ValueError("broken")}
    tick = tick_at(groups)
    for _ in range(3):
        await tick.fire_due()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("gone"), TransactionConflict("again"), OSError("no route")]
)
async def test_errors_of_the_database_end_the_tick(error: Exception) -> None:
    groups = FakeGroups(group("0 * * * *", NOON), group("0 * * * *", NOON, group_id=2))
    groups.errors = {1: error}
    with pytest.raises(type(error)):
        await tick_at(groups).fire_due()


class ConflictingGroups(FakeGroups):
    """Somebody changes a schedule while it is fired, so many times."""

    conflicts = 2

    async def fire(self, firings: Sequence[Firing], *, after: Cursor, limit: int) -> Chunk:
        if self.conflicts:
            self.conflicts -= 1
            raise TransactionConflict("changed meanwhile")
        return await super().fire(firings, after=after, limit=limit)


@pytest.mark.parametrize("now", [NOON, NOON + HOUR])
async def test_a_conflict_with_somebody_else_is_repeated_with_new_plans(now: datetime) -> None:
    groups = ConflictingGroups(group("0 * * * *", NOON))
    assert await tick_at(groups, now).fire_due() == 1
    assert groups.asked_for_rules == (3 if now > NOON else 0)


class FakePosition:
    def __init__(self, now_at: datetime) -> None:
        self.now_at = now_at
        self.steps = 0

    async def position(self) -> ReplayPosition:
        return ReplayPosition(
            timeframe=Timeframe.D1,
            begins_at=NOON,
            now_at=self.now_at,
            ends_at=NOON + HOUR * 48,
            step=self.steps,
        )

    async def step(self) -> bool:
        self.steps += 1
        return True


REPLAYED = datetime(2015, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("clock", "earliest", "rings_at"),
    [
        (LiveMarketClock(WallClock()), None, None),
        (LiveMarketClock(WallClock()), NOON + HOUR, NOON + HOUR),
        (LiveMarketClock(WallClock()), NOON - HOUR, NOON - HOUR),
        (ReplayMarketClock(FakePosition(REPLAYED), WallClock()), None, None),
        (ReplayMarketClock(FakePosition(REPLAYED), WallClock()), REPLAYED, NOON),
        (ReplayMarketClock(FakePosition(REPLAYED), WallClock()), REPLAYED + HOUR, None),
    ],
)
async def test_timer_rings_at_wall_time(
    clock: MarketClock, earliest: datetime | None, rings_at: datetime | None
) -> None:
    groups = FakeGroups()
    groups.earliest = earliest
    assert await Tick(groups, clock).rings_at() == rings_at
