"""The trading service killed around orders: no position is lost, no order is sent twice, the books are right."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from typing import Final

import pytest

from atf.testing.venue import LocalVenue, local_venue
from tests.chaos.trading_judge import judge
from tests.chaos.trading_site import BEGIN, DAY, RULES, WARM_UP, TradingSite

BOTS: Final = 10
KILLS: Final = int(os.environ.get("ATF_CHAOS_KILLS", "6"))
POINTS: Final = (
    "trading.before_intent",
    "trading.after_intent",
    "trading.after_send",
    "trading.after_ack",
    "trading.after_partial_fill",
    "trading.after_fill",
)
BARS_A_POINT: Final = 3
"""One before each kill, and two of which one brings the service by: not each fills in part, or to the end."""

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600 + 30 * KILLS)]


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
