"""The trading service killed around orders: no position is lost, no order is sent twice, the books are right."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from typing import Final

import pytest

from atf.testing.venue import LocalVenue, local_venue
from atf.trading.paper.account import AccountRules
from tests.chaos.trading_site import BEGIN, DAY, WARM_UP, TradingSite

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

BOTS: Final = 10
KILLS: Final = int(os.environ.get("ATF_CHAOS_KILLS", "6"))
POINTS: Final = (
    "trading.before_intent",
    "trading.after_intent",
    "trading.after_send",
    "trading.after_ack",
    "trading.after_fill",
)
_UNFILLED: Final = """
    SELECT 1 FROM trading_orders o JOIN trading_bot_states s USING (bot_id)
    WHERE o.status NOT IN ('filled', 'cancelled', 'rejected', 'lost') AND o.bar_at < s.last_processed_bar
"""


@pytest.fixture
async def venue() -> AsyncIterator[LocalVenue]:
    async with local_venue(BEGIN + WARM_UP * DAY, AccountRules(allow_short=True)) as made:
        yield made


async def run_one_bar(site: TradingSite, day: int) -> None:
    await site.bar(day)
    await site.until_seen(day)


async def drain(site: TradingSite, day: int) -> None:
    """Let one more bar fill what rests, and wait until the books have it all."""
    await run_one_bar(site, day)
    await site.until(lambda: not site.query(_UNFILLED), "for the fills of the last bars")


async def test_a_kill_at_each_step_of_an_order_leaves_books_and_venue_the_same(venue: LocalVenue) -> None:
    with TradingSite() as site:
        site.settle(venue, BOTS, WARM_UP + 2 * len(POINTS) + 4)
        site.begin()
        await site.until_running()
        day = WARM_UP
        for point in POINTS:
            await run_one_bar(site, day)
            site.kill_service()
            site.begin(point)
            await site.bar(day + 1)
            await site.until_held(point)
            site.kill_service()
            site.begin()
            await site.until_seen(day + 1)
            day += 2
        await drain(site, day)
        site.judge(BOTS)
        bars = day - WARM_UP + 1
        made = dict(site.query("SELECT bot_id, count(*) FROM trading_orders GROUP BY bot_id"))
        assert made == dict.fromkeys(range(1, BOTS + 1), bars), "each bar has one order, as without any kill"


async def test_kills_at_random_instants_leave_books_and_venue_the_same(venue: LocalVenue) -> None:
    chance = random.Random(8)
    with TradingSite() as site:
        site.settle(venue, BOTS, WARM_UP + KILLS + 4)
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
        await drain(site, WARM_UP + KILLS)
        site.judge(BOTS)
        made = dict(site.query("SELECT bot_id, count(*) FROM trading_orders GROUP BY bot_id"))
        assert made == dict.fromkeys(range(1, BOTS + 1), KILLS + 1)
