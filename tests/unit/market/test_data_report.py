"""Gaps, flaws, jumps and freshness of stored bars, and the sentences about them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atf.market import gaps
from atf.market.adjustment import AdjustmentFactor, split_days
from atf.market.bars import Bars, Series, TimeArray, Timeframe, to_instant, to_nanoseconds
from atf.market.continuous_calendars import CurrencyWeek, RoundTheClock
from atf.market.data_report import SHOWN, Circumstances, Freshness, report
from atf.market.gaps import Coverage, Gap, coverage, expected_between
from atf.market.report_sentences import gap_sentence, sentences, verdict
from atf.market.resampling import opening_time
from atf.market.trading_calendar import Session, TradingCalendar

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
COIN = Series("BTC/USDT", Timeframe.H1)
STOCK = Series("AAPL", Timeframe.D1)
ALWAYS = RoundTheClock()


class Weekdays:
    """An exchange without holidays."""

    name = "XTST"
    zone = RoundTheClock.zone

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        every = ALWAYS.sessions_between(first, last)
        return tuple(
            Session(one.day, one.opens_at + 14 * HOUR, one.opens_at + 21 * HOUR)
            for one in every
            if one.day.weekday() < 5
        )


def hourly(*hours: int, closes: dict[int, float] | None = None) -> Bars:
    return bars_at([FIRST + n * HOUR for n in hours], {FIRST + n * HOUR: c for n, c in (closes or {}).items()})


def bars_at(times: list[datetime], closes: dict[datetime, float] | None = None) -> Bars:
    rows = []
    for instant in times:
        close = (closes or {}).get(instant, 100.0)
        rows.append((instant, close, close + 1, close - 1, close, 5.0))
    return Bars.from_rows(rows)


def test_missing_bars_that_follow_each_other_are_one_gap() -> None:
    found = coverage(hourly(0, 1, 4, 5, 7), Timeframe.H1, ALWAYS)
    assert (found.expected, found.missing, found.gap_count) == (8, 3, 2)
    assert found.gaps == (
        Gap(FIRST + 2 * HOUR, FIRST + 3 * HOUR, 2),
        Gap(FIRST + 6 * HOUR, FIRST + 6 * HOUR, 1),
    )


def test_what_was_asked_for_may_begin_before_and_end_after_the_bars() -> None:
    found = coverage(hourly(2), Timeframe.H1, ALWAYS, since=FIRST, until=FIRST + 4 * HOUR)
    assert [gap.missing for gap in found.gaps] == [2, 1]
    nothing = coverage(Bars.empty(), Timeframe.H1, ALWAYS, since=FIRST, until=FIRST + 4 * HOUR)
    assert (nothing.missing, nothing.expected) == (4, 4)
    assert coverage(Bars.empty(), Timeframe.H1, ALWAYS).expected == 0


def test_weekends_are_no_gaps_and_a_gap_goes_on_over_them() -> None:
    days = [FIRST + n * DAY for n in (0, 1, 2, 3, 4, 7, 8)]
    assert coverage(bars_at(days), Timeframe.D1, Weekdays()).gap_count == 0
    found = coverage(bars_at([days[0], days[-1]]), Timeframe.D1, Weekdays())
    assert found.gaps == (Gap(days[1], days[5], 5),)


def test_weekly_bars_are_expected_in_weeks_with_a_session() -> None:
    mondays = [FIRST + n * 7 * DAY for n in range(5)]
    found = coverage(bars_at(mondays[:2] + mondays[3:]), Timeframe.W1, Weekdays())
    assert (found.expected, found.gaps) == (5, (Gap(mondays[2], mondays[2], 1),))


def test_bars_outside_of_the_sessions_are_counted_and_do_not_fill_gaps() -> None:
    minutes = [FIRST + 13 * HOUR + n * timedelta(minutes=30) for n in range(6)]
    found = report(Series("AAPL", Timeframe.M30), bars_at(minutes), Weekdays(), FIRST + DAY)
    assert (found.outside, found.coverage.missing, found.coverage.expected) == (2, 0, 4)
    assert "2 bars outside of the sessions of XTST." in sentences(found)


@pytest.mark.parametrize(
    ("hours_later", "freshness"),
    [(1, Freshness.CURRENT), (2, Freshness.BEHIND), (4, Freshness.BEHIND), (5, Freshness.STALE)],
)
def test_the_newest_bar_is_current_behind_or_stale(hours_later: int, freshness: Freshness) -> None:
    found = report(COIN, hourly(0, 1), ALWAYS, FIRST + (1 + hours_later) * HOUR)
    assert found.newest.freshness is freshness
    assert found.newest.expected == FIRST + hours_later * HOUR
    assert found.finding_count == (freshness is Freshness.STALE)


def test_a_part_of_the_past_is_neither_current_nor_stale() -> None:
    found = report(COIN, hourly(0, 1), ALWAYS, FIRST + 99 * DAY, Circumstances(until=FIRST + 2 * HOUR))
    assert (found.newest.freshness, found.finding_count) == (Freshness.NOT_ASKED, 0)
    assert verdict(found) == "BTC/USDT 1h is complete and nothing in it looks wrong."


def test_bars_that_are_not_closed_yet_are_not_missing() -> None:
    around = Circumstances(until=FIRST + 99 * DAY)
    found = report(COIN, hourly(0, 1), ALWAYS, FIRST + 2.5 * HOUR, around)
    assert found.coverage.missing == 0


def test_a_close_that_halves_looks_like_a_split_and_one_with_a_factor_does_not() -> None:
    days = [FIRST + n * DAY for n in range(4)]
    bars = bars_at(days, {days[2]: 51.0, days[3]: 50.0})
    found = report(STOCK, bars, Weekdays(), FIRST + 5 * DAY)
    assert found.jumps.count == 1
    assert found.jumps.listed[0].open_time == days[2]
    assert (
        found.jumps.listed[0].what
        == "close is 0.51 times the one before: looks like a split 2:1 without a factor"
    )
    known = split_days([AdjustmentFactor(date(2024, 1, 2), 1.0, 0.5)])
    explained = report(STOCK, bars, Weekdays(), FIRST + 5 * DAY, Circumstances(known_splits=known))
    assert explained.jumps.count == 0


@pytest.mark.parametrize(("close", "split"), [(33.0, "3:1"), (67.0, "3:2"), (199.0, "1:2"), (1010.0, "1:10")])
def test_splits_have_many_ratios(close: float, split: str) -> None:
    days = [FIRST, FIRST + DAY]
    found = report(STOCK, bars_at(days, {days[1]: close}), Weekdays(), FIRST + 3 * DAY)
    assert f"looks like a split {split}" in found.jumps.listed[0].what


@pytest.mark.parametrize("close", [90.0, 60.0, 130.0, 170.0, float("nan")])
def test_other_moves_and_missing_closes_look_like_no_split(close: float) -> None:
    days = [FIRST, FIRST + DAY]
    assert report(STOCK, bars_at(days, {days[1]: close}), Weekdays(), FIRST + 3 * DAY).jumps.count == 0


def test_a_coin_that_halves_is_no_split() -> None:
    assert report(COIN, hourly(0, 1, closes={1: 50.0}), ALWAYS, FIRST + 3 * HOUR).jumps.count == 0


def test_a_spike_is_a_flaw_and_everything_is_said_in_sentences() -> None:
    bars = hourly(0, 1, 2, 3, 6, closes={2: 300.0})
    found = report(COIN, bars, ALWAYS, FIRST + 50 * HOUR, Circumstances(duplicates=1, quarantined=2))
    assert list(sentences(found)) == [
        "5 bars from 2024-01-01 to 2024-01-01 06:00Z; the calendar 24/7 expects 7.",
        "2 bars are missing from 2024-01-01 04:00Z to 2024-01-01 05:00Z.",
        "The bar of 2024-01-01 02:00Z: differs from both neighbours by more than half.",
        "1 bar came twice; the last one counts.",
        "2 bars put aside as impossible, and not used.",
        "Stale: bars up to 2024-01-03 01:00Z should be there.",
    ]
    assert verdict(found) == "BTC/USDT 1h: 6 findings."


def test_of_many_gaps_ten_are_said_and_all_are_counted() -> None:
    found = report(COIN, hourly(*range(0, 400, 2)), ALWAYS, FIRST + 400 * HOUR)
    said = list(sentences(found))
    assert (found.coverage.gap_count, len(found.coverage.gaps)) == (199, SHOWN)
    assert said[1] == "199 bars missing in 199 gaps."
    assert said[2] == "The bar of 2024-01-01 01:00Z is missing."
    assert said[12] == "… and 189 more gaps."


def test_no_bars_are_one_sentence() -> None:
    found = report(COIN, Bars.empty(), ALWAYS, FIRST)
    assert list(sentences(found)) == ["No bars of BTC/USDT 1h."]
    assert found.newest.freshness is Freshness.EMPTY


def test_a_gap_is_said_with_its_times() -> None:
    gap = Gap(FIRST, FIRST + 2 * DAY, 1234)
    assert gap_sentence(gap) == "1,234 bars are missing from 2024-01-01 to 2024-01-03."


@pytest.mark.parametrize("calendar", [ALWAYS, CurrencyWeek(), Weekdays()])
def test_a_million_bars_are_looked_through(calendar: TradingCalendar) -> None:
    times = np.arange(1_000_000, dtype=np.int64) * 60 * 10**9 + to_nanoseconds(FIRST)
    closes = 100 + np.cumsum(np.sin(np.arange(1_000_000.0)))
    values = np.column_stack([closes, closes + 1, closes - 1, closes, closes])
    bars = Bars.from_columns(times, values)
    keep = np.ones(len(bars), dtype=bool)
    keep[::1000] = False
    holed = Bars.from_columns(times[keep], values[keep])
    found = report(Series("X", Timeframe.M1), holed, calendar, to_instant(int(bars.open_time[-1])) + HOUR)
    assert found.coverage.gap_count > 200


# --- long spans ---


def found_at_once(bars: Bars, expected: TimeArray) -> Coverage:
    """What there is to be found, with every expected bar in memory."""
    is_missing = ~np.isin(expected, bars.open_time)
    edges = np.diff(is_missing.astype(np.int8), prepend=0, append=0)
    runs = zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True)
    listed = tuple(
        Gap(to_instant(int(expected[begin])), to_instant(int(expected[end - 1])), end - begin)
        for begin, end in runs
    )
    return Coverage(len(expected), int(is_missing.sum()), len(listed), listed)


class EarlyBird(Weekdays):
    """An exchange whose sessions begin on the day before their date, with a pause around midnight."""

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        return tuple(
            Session(one.day, midnight - 3 * HOUR, midnight + 4 * HOUR, (midnight - HOUR / 2, midnight + HOUR / 4))
            for one in super().sessions_between(first, last)
            for midnight in [datetime.combine(one.day, time(), UTC)]
        )


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    timeframe=st.sampled_from(list(Timeframe)),
    calendar=st.sampled_from([ALWAYS, CurrencyWeek(), Weekdays(), EarlyBird()]),
    piece=st.integers(1, 40),
    span=st.floats(0.0, 90.0),
    begin=st.timedeltas(timedelta(0), 3 * DAY),
    held=st.lists(st.integers(0, 100), max_size=30),
    most=st.one_of(st.none(), st.integers(0, 6)),
)
def test_pieces_find_what_there_is_to_be_found_in_the_whole(
    monkeypatch: pytest.MonkeyPatch,
    timeframe: Timeframe,
    calendar: TradingCalendar,
    piece: int,
    span: float,
    begin: timedelta,
    held: list[int],
    most: int | None,
) -> None:
    monkeypatch.setattr(gaps, "_PIECE", piece)
    since = FIRST + begin
    until = since + span * timeframe.length
    bars = bars_at([opening_time(since, timeframe) + number * timeframe.length for number in held])
    expected = found_at_once(bars, expected_between(timeframe, calendar, since, until))
    found = coverage(bars, timeframe, calendar, since=since, until=until, most_gaps=most)
    assert found == replace(expected, gaps=expected.gaps[:most])


@pytest.mark.parametrize("count", [262_144, 400_000])
@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.M5, Timeframe.H1])
def test_the_last_bar_of_a_long_span_is_expected(timeframe: Timeframe, count: int) -> None:
    until = FIRST + count * timeframe.length
    expected = expected_between(timeframe, ALWAYS, FIRST, until)
    assert (len(expected), to_instant(int(expected[-1]))) == (count, until - timeframe.length)
    newest = bars_at([until - timeframe.length])
    found = coverage(newest, timeframe, ALWAYS, since=FIRST, until=until)
    assert (found.expected, found.missing, found.gap_count) == (count, count - 1, 1)


@pytest.mark.parametrize(
    ("timeframe", "calendar", "years"),
    [(Timeframe.M1, ALWAYS, 50), (Timeframe.M1, CurrencyWeek(), 8), (Timeframe.D1, Weekdays(), 150)],
    ids=["minutes of coins", "minutes of currencies", "days of stocks"],
)
def test_however_long_a_span_is_little_memory_is_needed(
    timeframe: Timeframe, calendar: TradingCalendar, years: int
) -> None:
    until = FIRST + 15 * HOUR if timeframe is Timeframe.M1 else FIRST
    held = bars_at([until - days * DAY for days in (2_100, 700, 7)])
    tracemalloc.start()
    try:
        found = coverage(held, timeframe, calendar, since=until - 365 * years * DAY, until=until)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.gap_count, found.expected - found.missing) == (4, 3)
    assert peak < 12 * 2**20
