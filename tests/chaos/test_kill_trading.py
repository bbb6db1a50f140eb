"""The trading service killed around orders: no position is lost, no order is sent twice, the books are right."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, TypeVar

import pytest

from atf.testing.venue import ORDER, STATE, SUBMIT, LocalVenue, local_venue
from atf.testing.venue_faults import OF_EVENTS, VenueFault
from tests.chaos.trading_judge import judge
from tests.chaos.trading_site import BEGIN, DAY, RULES, WARM_UP, TradingSite

T = TypeVar("T")
BOTS: Final = 10
KILLS: Final = int(os.environ.get("ATF_CHAOS_KILLS", "6"))
ENOUGH_TO_TRY_ALL: Final = 100
"""With fewer kills one may come each time before a fault has its turn."""
POINTS: Final = (
    "trading.before_intent",
    "trading.after_intent",
    "trading.after_send",
    "trading.after_ack",
    "trading.after_partial_fill",
    "trading.after_fill",
)
OF_ORDERS: Final = (
    VenueFault.ACCEPTED_THEN_SILENT,
    VenueFault.ACCEPTED_THEN_CUT,
    VenueFault.ACCEPTED_THEN_BROKEN,
    VenueFault.CUT,
    VenueFault.BROKEN,
    VenueFault.THROTTLED,
)
OF_QUESTIONS: Final = ((ORDER, VenueFault.TRUNCATED), (STATE, VenueFault.MAINTENANCE))
BARS_A_POINT: Final = 3
"""One before each kill, and two of which one brings the service by: not each fills in part, or to the end."""

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600 + 30 * KILLS)]


class Trouble:
    """Everything that is wrong with a venue, by chance, but nothing a second time before all else has been."""

    def __init__(self, venue: LocalVenue, chance: random.Random) -> None:
        self._venue = venue
        self._chance = chance
        self._orders = self._dealt(OF_ORDERS)
        self._events = self._dealt(sorted(OF_EVENTS))
        self._questions = self._dealt(OF_QUESTIONS)
        self._connections = self._dealt((venue.drop_connections, venue.go_away))

    def _dealt(self, faults: Sequence[T]) -> Iterator[T]:
        while True:
            yield from self._chance.sample(faults, len(faults))

    def begin(self) -> None:
        """Answer some of the next requests wrongly, and push some of the next events wrongly."""
        self._venue.misbehave(next(self._orders), SUBMIT, self._chance.randint(1, BOTS))
        self._venue.misbehave(next(self._events), times=self._chance.randint(1, BOTS))
        path, fault = next(self._questions)
        self._venue.misbehave(fault, path, self._chance.randint(1, BOTS))

    async def cut_off(self) -> None:
        """Break all connections; every other time none can be made until the venue comes back."""
        await next(self._connections)()


@pytest.fixture
async def venue() -> AsyncIterator[LocalVenue]:
    async with local_venue(BEGIN + WARM_UP * DAY, RULES) as made:
        yield made


async def test_a_kill_at_each_step_of_an_order_leaves_books_and_venue_the_same(venue: LocalVenue) -> None:
    traded = BARS_A_POINT * len(POINTS)
    with TradingSite() as site:
        site.settle(venue, BOTS, traded)
        site.begin()
        await site.until_running()
        day = WARM_UP
        for point in POINTS:
            await site.run_bar(day)
            site.kill_service()
            site.begin(point)
            day = await site.bars_until_held(point, day + 1) + 1
            site.kill_service()
            site.begin()
            await site.until_seen(day - 1)
        for rest in range(day, WARM_UP + traded):
            await site.run_bar(rest)
        await site.bars_until_filled(WARM_UP + traded)
        judge(site, traded)


async def test_kills_at_random_instants_leave_books_and_venue_the_same(venue: LocalVenue) -> None:
    chance = random.Random(8)
    with TradingSite() as site:
        site.settle(venue, BOTS, KILLS)
        site.begin()
        await site.until_running()
        for day in range(WARM_UP, WARM_UP + KILLS):
            await site.bar(day)
            await asyncio.sleep(chance.random() * 0.4)
            site.kill_service()
            if chance.random() < 0.3:
                site.begin()
                await asyncio.sleep(chance.random() * 3)  # while it recovers
                site.kill_service()
            site.begin()
            await site.until_seen(day)
        await site.bars_until_filled(WARM_UP + KILLS)
        judge(site, KILLS)


async def test_kills_beside_a_venue_that_fails_leave_books_and_venue_the_same(venue: LocalVenue) -> None:
    chance = random.Random(9)
    trouble = Trouble(venue, chance)
    with TradingSite({"ATF_TRADING_RECONCILE_SECONDS": "1"}) as site:
        site.settle(venue, BOTS, KILLS, timeout_seconds=1, visibility_seconds=2)
        site.begin()
        await site.until_running()
        for day in range(WARM_UP, WARM_UP + KILLS):
            trouble.begin()
            await site.bar(day)
            await asyncio.sleep(chance.random() * 0.4)
            await trouble.cut_off()
            await asyncio.sleep(chance.random())
            site.kill_service()
            site.begin()
            await asyncio.sleep(chance.random() * 3)  # while it recovers, or waits for the venue
            await venue.come_back()
            await site.until_seen(day)
        venue.behave()
        await site.bars_until_filled(WARM_UP + KILLS)
        judge(site, KILLS, is_told_in_order=False)
        unused = {*OF_ORDERS, *OF_EVENTS, *(fault for _, fault in OF_QUESTIONS)} - set(venue.misdeeds)
        assert not unused or KILLS < ENOUGH_TO_TRY_ALL, "not all that may go wrong has been tried"
