from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import ConfigurationError
from atf.market.bars import Timeframe
from atf.market.market_clock import (
    LiveMarketClock,
    Pace,
    PacedMarketClock,
    ReplayMarketClock,
    ReplayPosition,
)
from atf.testing.clocks import FakeClock

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
THEN = datetime(2015, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class WallClock:
    def now(self) -> datetime:
        return NOON


class FakePosition:
    def __init__(self) -> None:
        self.found = ReplayPosition(
            timeframe=Timeframe.D1, begins_at=THEN, now_at=THEN, ends_at=THEN + DAY, step=0
        )

    async def position(self) -> ReplayPosition:
        return self.found

    async def step(self) -> bool:
        return not self.found.is_finished


async def test_live_time_is_wall_time_and_moves_by_itself() -> None:
    clock = LiveMarketClock(WallClock())
    assert (clock.is_replay, await clock.now(), await clock.step()) == (False, NOON, False)
    assert clock.rings_at(NOON + DAY, NOON) == NOON + DAY


async def test_replayed_time_is_what_the_row_says() -> None:
    clock = ReplayMarketClock(FakePosition(), WallClock())
    assert (clock.is_replay, await clock.now(), await clock.step()) == (True, THEN, True)


async def test_replay_rings_at_once_for_what_has_been_reached() -> None:
    clock = ReplayMarketClock(FakePosition(), WallClock())
    assert clock.rings_at(THEN, THEN) == NOON
    assert clock.rings_at(THEN + timedelta(seconds=1), THEN) is None


def test_replay_is_finished_at_its_last_session() -> None:
    positions = [
        ReplayPosition(timeframe=Timeframe.D1, begins_at=THEN, now_at=now, ends_at=THEN + DAY, step=0)
        for now in (THEN, THEN + DAY, THEN + DAY * 2)
    ]
    assert [position.is_finished for position in positions] == [False, True, True]


# --- a replay that moves by itself ---


class PacedPosition:
    """A row with a speed, which a test may change."""

    def __init__(self, speed: float, days: int = 10) -> None:
        self.pace: Pace | None = Pace(THEN, THEN + days * DAY, NOON, speed)

    async def position(self) -> ReplayPosition:
        return ReplayPosition(Timeframe.D1, THEN, THEN, THEN, 0, self.pace)

    async def step(self) -> bool:
        raise AssertionError("it moves by itself")


def paced(row: PacedPosition, wall: FakeClock) -> PacedMarketClock:
    assert row.pace is not None
    return PacedMarketClock(row, wall, row.pace)


async def test_paced_time_runs_so_many_times_as_fast_as_the_wall() -> None:
    wall = FakeClock(NOON)
    clock = paced(PacedPosition(speed=3600.0), wall)
    assert (clock.is_replay, await clock.now(), await clock.step()) == (True, THEN, False)
    wall.advance(timedelta(seconds=1))
    assert await clock.now() == THEN + timedelta(hours=1)
    wall.advance(timedelta(milliseconds=500))
    assert await clock.now() == THEN + timedelta(minutes=90)


async def test_paced_time_stays_between_its_begin_and_its_end() -> None:
    wall = FakeClock(NOON - DAY)
    clock = paced(PacedPosition(speed=1e12), wall)
    assert await clock.now() == THEN
    wall.advance(DAY * 400)
    assert await clock.now() == THEN + 10 * DAY


async def test_a_paced_clock_rings_when_the_wall_reaches_the_instant() -> None:
    wall = FakeClock(NOON + timedelta(seconds=1))
    clock = paced(PacedPosition(speed=3600.0), wall)
    now = await clock.now()
    assert clock.rings_at(THEN + timedelta(hours=10), now) == NOON + timedelta(seconds=10)
    assert clock.rings_at(THEN + timedelta(minutes=30), now) == NOON + timedelta(milliseconds=500)
    assert clock.rings_at(THEN + 10 * DAY, now) == NOON + timedelta(seconds=240)
    assert clock.rings_at(THEN + 10 * DAY + timedelta(microseconds=1), now) is None


async def test_a_paced_clock_follows_a_row_that_changes() -> None:
    wall = FakeClock(NOON + timedelta(seconds=60))
    row = PacedPosition(speed=86400.0, days=1)
    clock = paced(row, wall)
    assert await clock.now() == THEN + DAY
    assert clock.rings_at(THEN + 2 * DAY, THEN) is None
    row.pace = Pace(THEN, THEN + 3 * DAY, NOON + timedelta(seconds=59), 86400.0)
    assert await clock.now() == THEN + DAY
    assert clock.rings_at(THEN + 2 * DAY, THEN) == NOON + timedelta(seconds=61)
    row.pace = None
    with pytest.raises(ConfigurationError, match="restart the services"):
        await clock.now()


SPEEDS = st.floats(min_value=1e-9, max_value=1e12, allow_nan=False, exclude_min=True)


@given(SPEEDS, st.timedeltas(timedelta(0), timedelta(days=20_000)))
def test_an_instant_is_reached_when_the_clock_rings_and_not_before(speed: float, ahead: timedelta) -> None:
    pace = Pace(THEN, THEN + timedelta(days=20_000), NOON, speed)
    rings_at = pace.wall_at(THEN + ahead, NOON)
    assert rings_at is not None
    if rings_at < NOON + DAY:  # what is further ahead is looked at again after a day
        assert pace.market_at(rings_at) >= THEN + ahead
        earlier = pace.market_at(rings_at - timedelta(microseconds=1))
        assert earlier < THEN + ahead or ahead == timedelta(0)
