"""A venue that publishes bars late delays alerts by no more than that, whatever the timeframe and the order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.alert_day import EPOCH, Day, Venue
from tests.simulated_time import simulate
from tests.unit.alerts.test_evaluator import BEGIN, HOUR, Kept, World, config, hourly, run_of, stored
from tests.unit.alerts.test_evaluator import bars_of as hours_of

from atf.alerts.alert import fresh_state, parse_alert
from atf.alerts.evaluator import AlertEvaluator
from atf.alerts.looking_again import LateSeries, pause_for_bar
from atf.market.bars import Bars, Series, Timeframe
from atf.testing.market import ScriptedProvider, open_market

SECOND: Final = timedelta(seconds=1)
LOOK: Final = 0.001
"""What a look itself may take in simulated time."""
timeframes = st.sampled_from(list(Timeframe))
shares = st.floats(0, 0.9999)


def lateness_of(share: float, timeframe: Timeframe) -> float:
    """From two seconds to half a timeframe, the short ones as often as the long ones."""
    half = timeframe.length.total_seconds() / 2
    return float(2 * (half / 2) ** share)


def alert_on(number: int, ticker: str, timeframe: Timeframe) -> Kept:
    document = config(ticker, timeframe=str(timeframe), rearm={"type": "simple"})
    return Kept(number, document, fresh_state(parse_alert(document), EPOCH - timeframe.length))


def bars_of(closes: Sequence[float], timeframe: Timeframe) -> Bars:
    """Bars of which the first closes as simulated time begins."""
    rows = [
        (EPOCH + timeframe.length * (i - 1), close, close, close, close, 1.0) for i, close in enumerate(closes)
    ]
    return Bars.from_rows(rows)


def worked(
    alerts: Sequence[Kept],
    bars: Mapping[Series, Bars],
    published: Mapping[tuple[str, datetime], float],
    runs: Sequence[tuple[float, int]],
    *,
    is_staged: bool,
    latency: float = 0.0,
) -> Day:
    """Let runs become due, each at its second for an alert, and work until all have ended."""

    async def work() -> Day:
        day = Day(alerts, Venue(bars, latency, published=published), is_staged=is_staged)
        for run_id, (at, alert) in enumerate(runs):
            day.add(at, run_of(run_id, alert))
        await day.work()
        return day

    return simulate(work())


@settings(deadline=None, max_examples=50)
@given(timeframe=timeframes, share=shares, begins=st.floats(0.0, 1.0))
def test_a_late_bar_is_decided_before_twice_its_lateness_has_passed(
    timeframe: Timeframe, share: float, begins: float
) -> None:
    """Though a run that comes back stands in the queue only when the stager has come by."""
    late, bar = lateness_of(share, timeframe), EPOCH - timeframe.length
    bars = {Series("T", timeframe): bars_of([6], timeframe)}
    day = worked([alert_on(1, "T", timeframe)], bars, {("T", bar): late}, [(begins, 1)], is_staged=True)
    assert late <= day.triggered_at[1, bar] <= 2 * late + LOOK
    assert day.ended_at == {0: day.triggered_at[1, bar]}


@settings(deadline=None, max_examples=50)
@given(timeframe=timeframes, share=shares, begins=st.lists(st.floats(0.0, 3.0), min_size=2, max_size=4))
def test_nor_do_alerts_on_one_series_keep_each_other_from_asking(
    timeframe: Timeframe, share: float, begins: list[float]
) -> None:
    late, bar = lateness_of(share, timeframe), EPOCH - timeframe.length
    alerts = [alert_on(number, "T", timeframe) for number in range(len(begins))]
    bars = {Series("T", timeframe): bars_of([6], timeframe)}
    runs = [(at, number) for number, at in enumerate(begins)]
    day = worked(alerts, bars, {("T", bar): late}, runs, is_staged=False)
    assert set(day.triggered_at) == {(number, bar) for number in range(len(begins))}
    assert max(day.triggered_at.values()) <= 2 * late + LOOK


@settings(deadline=None, max_examples=50)
@given(timeframe=timeframes, tickers=st.lists(shares, min_size=2, max_size=6), begins=st.floats(0.0, 1.0))
def test_each_ticker_has_its_own_lateness(timeframe: Timeframe, tickers: list[float], begins: float) -> None:
    bar = EPOCH - timeframe.length
    lates = {f"S{number}": lateness_of(share, timeframe) for number, share in enumerate(tickers)}
    alerts = [alert_on(number, ticker, timeframe) for number, ticker in enumerate(lates)]
    bars = {Series(ticker, timeframe): bars_of([6], timeframe) for ticker in lates}
    published = {(ticker, bar): late for ticker, late in lates.items()}
    runs = [(begins, number) for number in range(len(alerts))]
    day = worked(alerts, bars, published, runs, is_staged=True, latency=0.01)
    for number, late in enumerate(lates.values()):
        assert late <= day.triggered_at[number, bar] <= 2 * late + 0.1


@pytest.mark.parametrize("timeframe", Timeframe)
def test_a_bar_that_never_comes_is_given_up_at_half_a_timeframe(timeframe: Timeframe) -> None:
    bars = {Series("T", timeframe): bars_of([6], timeframe)}
    never = {("T", EPOCH - timeframe.length): float("inf")}
    day = worked([alert_on(1, "T", timeframe)], bars, never, [(0.2, 1)], is_staged=True)
    half = timeframe.length.total_seconds() / 2
    assert half <= day.ended_at[0] <= half + 1.5
    assert (day.triggered_at, day.store.done.results[0].result["bars_evaluated"]) == ({}, 0)
    assert day.queue.claims < 35


NEVER: Final = float("inf")


@settings(deadline=None, max_examples=30)
@given(
    timeframe=timeframes,
    lates=st.lists(
        st.one_of(st.just(0.0), st.floats(0, 0.499), st.floats(0.5, 0.99), st.floats(1, 4), st.just(NEVER)),
        min_size=2,
        max_size=6,
    ),
    data=st.data(),
)
def test_bars_in_any_order_are_each_decided_at_most_once_and_in_their_own_place(
    timeframe: Timeframe, lates: list[float], data: st.DataObject
) -> None:
    """A bar that comes before the next one has closed is judged, a later one unless a newer one was before it.

    ``lates`` are in timeframes.
    """
    closes = data.draw(st.lists(st.sampled_from([4.0, 6.0]), min_size=len(lates), max_size=len(lates)))
    length, bars = timeframe.length.total_seconds(), bars_of(closes, timeframe)
    times = [bars.time_at(place) for place in range(len(bars))]
    published = {("T", at): (place + lates[place]) * length for place, at in enumerate(times)}
    runs = [(place * length + 0.1, 1) for place in range(len(lates) + 3)]
    day = worked([alert_on(1, "T", timeframe)], {Series("T", timeframe): bars}, published, runs, is_staged=True)
    fired = [at for _, at in day.store.done.triggers]
    assert fired == sorted(set(fired))
    rising = {at for at, close in zip(times, closes, strict=True) if close > 5}
    in_time = {at for at, late in zip(times, lates, strict=True) if late < 1}
    assert rising & in_time <= set(fired) <= rising
    for place, at in enumerate(times):
        if at in fired and lates[place] < 0.5:
            late = max(2.0, lates[place] * length)
            assert day.triggered_at[1, at] <= place * length + 2 * late + LOOK


def test_the_pause_grows_with_the_lateness_and_ends_at_half_a_timeframe() -> None:
    minutes = [0, 1, 4, 20, 29, 30, 31]
    pauses = [pause_for_bar(timedelta(minutes=each), Timeframe.H1) for each in minutes]
    assert pauses == [SECOND, 30 * SECOND, 120 * SECOND, 600 * SECOND, 60 * SECOND, None, None]


def test_a_series_is_late_since_it_was_first_missing_and_forgotten_when_nobody_wants_it() -> None:
    late, one, other = LateSeries(), Series("A", Timeframe.H1), Series("B", Timeframe.H1)

    def pause(at: float, *missing: Series, ready: Sequence[Series] = ()) -> list[float]:
        found = late.pauses(missing, ready, EPOCH + at * SECOND)
        return [found[series].total_seconds() for series in missing]

    assert pause(0, one) == [1]
    assert pause(20, one, other) == [5, 1]
    assert pause(200, one, ready=[other]) == [30]
    assert pause(220, other) == [1]
    assert pause(221, ready=[one]) == []
    assert pause(240, one, other) == [1, 5]
    assert pause(1000, one) == [1]


# --- a bar that is published after a newer one was judged ---


async def hourly_looks(*alerts: Kept, closes: Sequence[float], late: int, comes_after: int) -> World:
    """Let alerts look at the close of each hour; one bar is published only when another one has been judged."""
    world, venue = World(*alerts), ScriptedProvider()
    data = open_market(venue, ttl=timedelta(0))
    world.evaluator = AlertEvaluator(world.store, world.queue, data, world.clock)
    every = hours_of(*closes)
    for hour in range(2, len(closes) + 1):
        is_there = [i for i in range(hour) if i != late or hour - 1 > comes_after]
        venue.bars[hourly("T")] = every.where(np.isin(np.arange(len(closes)), is_there))
        world.clock.time = BEGIN + HOUR * hour
        await world.handle(*[run_of(100 * hour + number, number, hour) for number in world.store.alerts])
        world.store.keep()
    return world


async def test_nothing_fires_on_a_bar_that_comes_after_a_newer_one_was_judged() -> None:
    alert = stored(1, config(rearm={"type": "simple"}))
    world = await hourly_looks(alert, closes=[4, 4, 6, 4, 4, 6], late=2, comes_after=3)
    assert world.store.done.triggers == [(1, BEGIN + HOUR * 5)]
    judged = [result.result["bars_evaluated"] for _, result in sorted(world.store.done.results.items())]
    assert judged == [2, 1, 1, 1]  # none at the hour whose bar is waited for, and never that bar


async def test_what_is_computed_of_later_bars_reads_the_late_one() -> None:
    rule = {"indicator": "sma", "params": {"period": 3}, "operator": ">", "value": 5}
    # Without the 9 the mean of the last three is 4 at the end, with it 5.67.
    world = await hourly_looks(stored(1, config(rule=rule)), closes=[4, 4, 4, 9, 4, 4], late=3, comes_after=4)
    assert world.store.done.triggers == [(1, BEGIN + HOUR * 5)]
