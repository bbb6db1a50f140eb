"""On the day of a split: what is not closed yet is looked at only beside a history on the same base."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.unit.alerts.test_evaluator import BEGIN, HOUR, Kept, bars_of, config, stored
from tests.unit.alerts.test_live_alerts import LIVE, Exchange, SessionWorld, days, nov, session_alert
from tests.unit.alerts.test_live_alerts import LiveWorld as World

from atf.alerts.past_bars import PastBars
from atf.alerts.watched import Watched
from atf.errors import TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.forming import FormingBar
from atf.market.provider_lane import ProviderLane
from atf.market.rebasing import multiplied
from atf.testing.market import MemoryBarStore, OneCalendar, ScriptedProvider, open_market

FALLS: dict[str, Any] = {
    "rule": {"indicator": "change_pct", "params": {"bars": 1}, "operator": "<", "value": -20},
    "rearm": {"type": "simple"},
}


def falling(number: int = 1, **fields: Any) -> Kept:
    return stored(number, config(**FALLS, **LIVE, **fields))


async def test_a_split_is_no_fall_of_a_price() -> None:
    world = World(falling(), is_remote=True, T=bars_of(100, 104))
    assert await world.look(2.5, 103) == []
    world.provider.bars = {"T": multiplied(bars_of(100, 104), 0.25)}
    for hours in (2.52, 2.54):
        assert await world.look(hours, 26) == []
    # A fall from there is one.
    assert await world.look(2.56, 20) == [(1, BEGIN + HOUR * 2)]


async def test_a_fall_without_a_split_fires_at_once() -> None:
    world = World(falling(), is_remote=True, T=bars_of(100, 104))
    assert await world.look(2.5, 103) == []
    assert await world.look(2.52, 26) == [(1, BEGIN + HOUR * 2)]


async def test_while_prices_move_as_usual_nobody_is_asked_again() -> None:
    world = World(falling(), is_remote=True, T=bars_of(100, 104))
    await world.look(2.5, 103)
    asked = list(world.provider.asked)
    for hours, price in ((2.52, 100), (2.54, 108)):
        await world.look(hours, price)
    assert world.provider.asked == asked
    await world.look(2.56, 120)
    assert len(world.provider.asked) == len(asked) + 1


async def test_if_the_provider_does_not_answer_nothing_fires_on_what_is_far_off() -> None:
    world = World(falling(), is_remote=True, T=bars_of(100, 104))
    await world.look(2.5, 103)
    world.provider.bars = {"T": None}
    assert await world.look(2.52, 26) == []
    world.provider.bars = {"T": bars_of(100, 104)}
    assert await world.look(2.54, 26) == [(1, BEGIN + HOUR * 2)]


async def test_a_local_source_is_on_one_base_by_itself() -> None:
    world = World(falling(), T=bars_of(100, 104))
    assert await world.look(2.5, 26) == [(1, BEGIN + HOUR * 2)]


async def test_a_day_that_its_session_has_ended_waits_for_a_history_on_its_base() -> None:
    world = SessionWorld(session_alert(**FALLS), is_remote=True)
    assert await world.at(nov(24, 20, 59), days("23")) == []
    before, today = multiplied(days("23"), 0.5), multiplied(days("24"), 0.5)  # from 2 to 3, and not from 4
    assert await world.at(nov(24, 21, 1), before, today) == []
    assert [delay > timedelta(0) for _, delay in world.queue.back] == [True], "it is looked at again"
    assert await world.at(nov(24, 21, 2), before, today) == []
    state = world.store.alerts[1].state
    assert state is not None
    assert state.last_bar == nov(24)


class Ended(ScriptedProvider):
    """Has a day's bar from the end of its session on."""

    ended = Bars.empty()

    async def forming_bar(self, series: Series, now: Any) -> FormingBar | None:
        return FormingBar(self.ended, now)


async def test_who_looks_back_sees_one_base_too() -> None:
    provider, store, seconds = Ended(), MemoryBarStore(), [0.0]
    daily = Series("T", Timeframe.D1)
    provider.bars[daily] = days("23")
    lane = ProviderLane(provider, monotonic=lambda: seconds[0])
    due = DueBars(OneCalendar(Exchange()))
    past = PastBars(DataManager(Chains([lane]), store, due, monotonic=lambda: seconds[0]), store)
    watched = Watched(daily, calendar="XNYS")
    await past.watched_bars(watched, nov(24, 12), 10, now=nov(24, 12))
    seconds[0] = 200.0
    provider.bars[daily], provider.ended = multiplied(days("23"), 0.5), multiplied(days("24"), 0.5)
    seen = await past.watched_bars(watched, nov(24, 21, 1), 10, now=nov(24, 21, 1))
    assert seen.close.tolist() == [2.0, 3.0]


async def test_a_provider_that_fails_now_makes_a_series_wait_and_no_other() -> None:
    clock = [0.0]
    provider = ScriptedProvider()
    other = Series("U", Timeframe.H1)
    series = Series("T", Timeframe.H1)
    provider.bars = {series: bars_of(100, 104), other: bars_of(100, 104)}
    data = open_market(provider, monotonic=lambda: clock[0])
    now = BEGIN + HOUR * 2.5
    closed = (await data.closed_bars_of({series: 2, other: 2}, until=now)).ready
    clock[0] = 100.0
    provider.error = TemporaryFailure("down")
    far, near = bars_of(0, 0, 26)[2:], bars_of(0, 0, 104)[2:]
    found = await data.on_other_base({series: (closed[series], far), other: (closed[other], near)}, now=now)
    assert found == {series}
