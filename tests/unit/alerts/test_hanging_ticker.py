"""One of 500 tickers that hangs hurts itself alone; many that are slow together are waited for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.alert_day import EPOCH, Day, Venue
from tests.simulated_time import simulate
from tests.unit.alerts.test_evaluator import Kept, config, run_of

from atf.alerts.alert import fresh_state, parse_alert
from atf.market.bars import Bars, Series, Timeframe
from atf.market.provider import ProviderTraits

HOUR = timedelta(hours=1)
TICKERS = [f"S{number:03d}" for number in range(500)]
HANGING = TICKERS[250]
HANGS_FOR = 60.0
BEGINS = 0.5
"""Runs are claimed a moment after the bar has closed."""


def bars_of_all() -> dict[Series, Bars]:
    """The alerts fire on the newest bar, which closes as simulated time begins."""
    closes = [4.0] * 9 + [6.0]
    times = [EPOCH - HOUR * back for back in range(10, 0, -1)]
    rows = [(at, close, close, close, close, 1.0) for at, close in zip(times, closes, strict=True)]
    return {Series(ticker, Timeframe.H1): Bars.from_rows(rows) for ticker in TICKERS}


def alerts_on_all(each: int) -> list[Kept]:
    documents = [config(ticker) for ticker in TICKERS]
    states = [fresh_state(parse_alert(document), EPOCH - HOUR) for document in documents]
    pairs = list(zip(documents, states, strict=True)) * each
    return [Kept(number, document, state) for number, (document, state) in enumerate(pairs)]


def day_of(venue: Venue, *, each: int, batch_size: int) -> Day:
    alerts = alerts_on_all(each)
    day = Day(alerts, venue, batch_size=batch_size)
    day.add(BEGINS, *(run_of(one.schedule_id, one.schedule_id) for one in alerts))
    return day


def worked(venue: Venue, *, each: int = 1, batch_size: int = 5_000) -> Day:
    """All alerts' runs become due at once."""

    async def work() -> Day:
        day = day_of(venue, each=each, batch_size=batch_size)
        await day.work()
        return day

    return simulate(work())


def last_of_the_others(day: Day) -> float:
    return max(at for number, at in day.ended_at.items() if TICKERS[number % len(TICKERS)] != HANGING) - BEGINS


@pytest.mark.parametrize(
    ("latency", "each", "batch_size"),
    [(0.02, 1, 5_000), (0.1, 1, 5_000), (0.02, 3, 400), (0.2, 2, 1_000)],
    ids=["one batch", "longer than the patience", "four batches", "many looks"],
)
def test_the_others_finish_within_half_as_long_again(latency: float, each: int, batch_size: int) -> None:
    usual = worked(Venue(bars_of_all(), latency), each=each, batch_size=batch_size)
    venue = Venue(bars_of_all(), latency, hangs_until={HANGING: HANGS_FOR})
    day = worked(venue, each=each, batch_size=batch_size)
    assert len(usual.ended_at) == len(day.ended_at) == each * len(TICKERS)
    print(last_of_the_others(day), last_of_the_others(usual), day.queue.claims)
    assert last_of_the_others(day) <= 1.5 * last_of_the_others(usual)


def test_what_hangs_is_asked_for_once_and_decided_once_when_it_comes() -> None:
    patient = ProviderTraits(timeout=timedelta(seconds=2 * HANGS_FOR))
    day = worked(Venue(bars_of_all(), 0.02, hangs_until={HANGING: HANGS_FOR}, traits=patient))
    number = TICKERS.index(HANGING)
    assert HANGS_FOR <= day.ended_at[number] <= 1.25 * HANGS_FOR + 2
    assert sorted(day.store.done.triggers) == [(alert, EPOCH - HOUR) for alert in range(len(TICKERS))]
    assert day.queue.failures == []


def test_what_hangs_beyond_its_timeout_is_looked_at_again_in_growing_pauses() -> None:
    venue = Venue(bars_of_all(), 0.02, hangs_until={HANGING: HANGS_FOR})
    day = worked(venue)
    asked = [at for ticker, at in venue.asked if ticker == HANGING]
    assert len(asked) == 3  # at once, and at looks after time-outs of 20 s
    assert day.ended_at[TICKERS.index(HANGING)] <= 1.25 * HANGS_FOR + 2
    looks = day.queue.claims - (len(TICKERS) - 1)
    assert looks < 15
    assert len(day.store.done.triggers) == len(TICKERS)


def test_a_cold_start_that_takes_a_minute_is_no_busy_loop_and_ends_soon_after_the_last_download() -> None:
    slow = ProviderTraits(calls_per_minute=500)
    venue = Venue(bars_of_all(), 0.05, traits=slow)
    day = worked(venue)
    downloaded = max(at for _, at in venue.asked) + venue.latency
    assert downloaded > 50
    assert max(day.ended_at.values()) <= 1.25 * downloaded + 5
    assert day.queue.claims < 10 * len(TICKERS)
    assert len(day.store.done.triggers) == len(TICKERS)


def test_of_a_few_tickers_none_is_given_up_before_the_patience_ends() -> None:
    """With so few, one that is slower than the others is more likely slow than hanging."""
    few = dict(list(bars_of_all().items())[:5])
    venue = Venue(few, 0.05, hangs_until={TICKERS[0]: BEGINS + 1.5})

    async def work() -> Day:
        day = Day(alerts_on_all(1)[:5], venue)
        day.add(BEGINS, *(run_of(number, number) for number in range(5)))
        await day.work()
        return day

    day = simulate(work())
    assert day.queue.claims == 5
    assert list(day.ended_at.values()) == pytest.approx([BEGINS + 1.5] * 5, abs=0.001)
