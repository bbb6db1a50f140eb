from datetime import UTC, datetime, timedelta

from atf.market.bars import Timeframe
from atf.market.market_clock import LiveMarketClock, ReplayMarketClock, ReplayPosition

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
