from datetime import UTC, datetime, timedelta

import pytest

from atf.market.bars import Timeframe
from atf.market.market_clock import LiveMarketClock, MarketClock, ReplayMarketClock, ReplayPosition
from atf.schedules.tick import Chunk, DueGroup, Firing, Tick, firing_of

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def group(cron: str, next_fire_at: datetime, timezone: str = "UTC") -> DueGroup:
    return DueGroup(1, cron, timezone, next_fire_at)


class WallClock:
    def __init__(self, now: datetime = NOON) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time


class FakeGroups:
    """Groups that are due, and the chunks in which each is fired; None means that another scheduler has it."""

    def __init__(self, *due: DueGroup, chunks: list[Chunk | None] | None = None) -> None:
        self.due = list(due)
        self.chunks = chunks or []
        self.fired: list[tuple[Firing, int, int]] = []
        self.earliest: datetime | None = None
        self.parked: list[DueGroup] = []

    async def due_groups(self, now: datetime) -> list[DueGroup]:
        return [one for one in self.due if one.next_fire_at <= now]

    async def fire(self, firing: Firing, *, after_schedule_id: int, limit: int) -> Chunk | None:
        self.fired.append((firing, after_schedule_id, limit))
        return self.chunks.pop(0)

    async def count_active(self) -> int:
        return len(self.due)

    async def park(self, group: DueGroup) -> None:
        self.parked.append(group)

    async def next_fire_at(self) -> datetime | None:
        return self.earliest


async def test_a_group_whose_zone_is_gone_is_parked_and_holds_up_no_other() -> None:
    lost = group("0 * * * *", NOON, "Mars/Olympus")
    groups = FakeGroups(lost, group("0 * * * *", NOON), chunks=[Chunk(3, None)])
    assert await Tick(groups, LiveMarketClock(WallClock())).fire_due() == 3
    assert groups.parked == [lost]


@pytest.mark.parametrize(
    ("missed", "instant"),
    [
        (timedelta(0), NOON),
        (MINUTE, NOON),
        (HOUR * 5, NOON),
        (timedelta(days=400), NOON),
    ],
)
def test_missed_instants_become_the_newest_due_one(missed: timedelta, instant: datetime) -> None:
    firing = firing_of(group("* * * * *", NOON - missed), NOON + timedelta(seconds=59))
    assert (firing.instant, firing.next_fire_at) == (instant, NOON + MINUTE)


def test_next_instant_is_strictly_after_now() -> None:
    firing = firing_of(group("0 * * * *", NOON), NOON)
    assert (firing.instant, firing.next_fire_at) == (NOON, NOON + HOUR)


def test_seconds_and_zones_are_respected() -> None:
    firing = firing_of(group("*/30 * * * * *", NOON), NOON + timedelta(seconds=31))
    assert firing.instant == NOON + timedelta(seconds=30)
    daily = firing_of(group("0 9 * * *", NOON - timedelta(days=3), "America/New_York"), NOON)
    assert daily.instant == datetime(2027, 2, 28, 14, tzinfo=UTC)
    assert daily.next_fire_at == datetime(2027, 3, 1, 14, tzinfo=UTC)


def test_instant_that_the_expression_does_not_have_is_fired_once_as_it_was_stored() -> None:
    """The row may be older than a change of the zone's rules."""
    odd = NOON - timedelta(seconds=30)
    assert firing_of(group("0 * * * *", odd), NOON - timedelta(seconds=1)).instant == odd


async def test_group_is_fired_chunk_by_chunk_until_all_its_runs_are_stored() -> None:
    groups = FakeGroups(
        group("0 * * * *", NOON), chunks=[Chunk(10_000, 12_345), Chunk(9_999, 23_456), Chunk(7, None)]
    )
    assert await Tick(groups, LiveMarketClock(WallClock())).fire_due() == 20_006
    assert [(after, limit) for _, after, limit in groups.fired] == [
        (0, 10_000),
        (12_345, 10_000),
        (23_456, 10_000),
    ]
    assert len({firing for firing, _, _ in groups.fired}) == 1


async def test_group_on_which_another_scheduler_works_is_left_to_it() -> None:
    groups = FakeGroups(
        group("0 * * * *", NOON), group("30 * * * *", NOON), chunks=[Chunk(5, 99), None, Chunk(3, None)]
    )
    assert await Tick(groups, LiveMarketClock(WallClock())).fire_due() == 8


async def test_nothing_due_fires_nothing() -> None:
    groups = FakeGroups(group("0 * * * *", NOON + HOUR))
    assert await Tick(groups, LiveMarketClock(WallClock())).fire_due() == 0
    assert groups.fired == []


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
