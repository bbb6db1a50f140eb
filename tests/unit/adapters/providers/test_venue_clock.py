"""The clock of the other side."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from atf.adapters.providers.venue_clock import VenueClock
from atf.errors import TemporaryFailure

THERE = datetime(2024, 1, 2, tzinfo=UTC)


class Venue:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.asked = 0
        self.is_broken = False

    async def time(self) -> datetime:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_broken:
            raise TemporaryFailure("no")
        return THERE + timedelta(seconds=self.seconds)


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
def clock(venue: Venue) -> VenueClock:
    return VenueClock(venue.time, lambda: venue.seconds)


async def test_many_who_ask_at_once_cause_one_question(venue: Venue, clock: VenueClock) -> None:
    assert set(await asyncio.gather(*(clock.now(THERE) for _ in range(50)))) == {THERE}
    assert venue.asked == 1


async def test_it_goes_on_between_questions(venue: Venue, clock: VenueClock) -> None:
    await clock.now(THERE)
    venue.seconds = 200.0
    assert await clock.now(THERE) == THERE + timedelta(seconds=200)
    assert venue.asked == 1


async def test_a_failure_is_raised_and_the_next_caller_asks_again(venue: Venue, clock: VenueClock) -> None:
    venue.is_broken = True
    with pytest.raises(TemporaryFailure):
        await clock.now(THERE)
    venue.is_broken = False
    assert await clock.now(THERE) == THERE


async def test_a_cancelled_caller_leaves_it_usable(venue: Venue, clock: VenueClock) -> None:
    task = asyncio.create_task(clock.now(THERE))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await clock.now(THERE) == THERE
