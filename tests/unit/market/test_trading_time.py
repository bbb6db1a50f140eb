"""Expected bars, closing times and staleness, on the days on which New York is not as usual."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.market.bars import Timeframe, to_instant, to_nanoseconds
from atf.market.continuous_calendars import CurrencyWeek, RoundTheClock
from atf.market.trading_calendar import Session, TradingCalendar
from atf.market.trading_time import closes_at, expected_opens, is_stale, newest_expected

NEW_YORK = ZoneInfo("America/New_York")
HOLIDAYS = {date(2026, 11, 26), date(2026, 12, 25), date(2027, 1, 1)}
HALF_DAYS = {date(2026, 11, 27), date(2026, 12, 24)}
DAY = timedelta(days=1)
ALL = list(Timeframe)
M1, M5, H1, H4, D1, W1 = (Timeframe(word) for word in ("1m", "5m", "1h", "4h", "1d", "1w"))


class NewYork:
    """XNYS as it is in the winter of 2026."""

    name = "XNYS"
    zone = NEW_YORK

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        days = [first + n * DAY for n in range((last - first).days + 1)]
        return tuple(_session(day) for day in days if day.weekday() < 5 and day not in HOLIDAYS)


def _session(day: date) -> Session:
    closes = (13, 0) if day in HALF_DAYS else (16, 0)
    return Session(day, _local(day, 9, 30), _local(day, *closes))


def _local(day: date, hour: int, minute: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK).astimezone(UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def opens(timeframe: Timeframe, since: str, until: str, sessions: Sequence[Session] | None) -> list[str]:
    found = expected_opens(timeframe, at(since), at(until), sessions)
    return [f"{to_instant(int(each)):%m-%d %H:%M}" for each in found]


SESSIONS = NewYork().sessions_between(date(2026, 10, 26), date(2026, 12, 31))


def test_daily_bars_of_a_stock_are_expected_on_session_days() -> None:
    assert opens(D1, "11-24", "12-02", SESSIONS) == [
        *("11-24 00:00", "11-25 00:00", "11-27 00:00", "11-30 00:00", "12-01 00:00")
    ]


def test_an_hour_that_begins_before_the_opening_and_one_cut_by_a_half_day_count() -> None:
    assert opens(H1, "11-27", "11-28", SESSIONS) == ["11-27 14:00", *(f"11-27 {h}:00" for h in (15, 16, 17))]
    assert len(opens(M1, "11-27", "11-28", SESSIONS)) == 210
    assert opens(M1, "11-25 20:58", "11-27 14:32", SESSIONS) == [
        *("11-25 20:58", "11-25 20:59", "11-27 14:30", "11-27 14:31")
    ]


def test_only_bars_that_are_closed_at_the_end_are_expected() -> None:
    assert opens(M5, "11-25 14:30", "11-25 14:39", SESSIONS) == ["11-25 14:30"]
    assert opens(D1, "11-25", "11-25 23:59", SESSIONS) == []


def test_sessions_move_in_utc_when_the_clocks_of_the_exchange_change() -> None:
    assert [one[6:] for one in opens(H1, "10-30", "11-03", SESSIONS)][::7] == ["13:00", "14:00"]


def test_weekly_bars_open_on_mondays_of_weeks_with_a_session() -> None:
    assert opens(W1, "11-10", "12-07", SESSIONS) == ["11-16 00:00", "11-23 00:00", "11-30 00:00"]


def test_a_market_that_never_closes_has_every_bar() -> None:
    assert opens(H4, "11-27 01:00", "11-27 13:00", None) == ["11-27 04:00", "11-27 08:00"]
    assert opens(W1, "11-10", "12-07", None) == ["11-16 00:00", "11-23 00:00", "11-30 00:00"]


def test_nothing_is_expected_in_the_pause_of_a_session() -> None:
    tokyo = Session(date(2026, 11, 24), at("11-24"), at("11-24 06:00"), (at("11-24 02:30"), at("11-24 03:30")))
    assert opens(Timeframe.M30, "11-24", "11-25", [tokyo])[4:7] == ["11-24 02:00", "11-24 03:30", "11-24 04:00"]
    assert opens(H1, "11-24", "11-25", [tokyo]) == [f"11-24 {hour:02}:00" for hour in range(6)]


@pytest.mark.parametrize(
    ("timeframe", "now", "newest"),
    [
        (M1, "11-25 15:00", "11-25 14:59"),
        (M1, "11-26 15:00", "11-25 20:59"),
        (M1, "11-27 14:30", "11-25 20:59"),
        (M1, "11-27 14:31", "11-27 14:30"),
        (M1, "11-28 03:00", "11-27 17:59"),
        (H1, "11-27 14:59", "11-25 20:00"),
        (H1, "11-27 15:00", "11-27 14:00"),
        (H1, "11-29 12:00", "11-27 17:00"),
        (H4, "11-27 23:00", "11-27 16:00"),
        (D1, "11-27 23:59", "11-25 00:00"),
        (D1, "11-28 00:00", "11-27 00:00"),
        (D1, "11-30 23:00", "11-27 00:00"),
        (W1, "11-29 23:59", "11-16 00:00"),
        (W1, "11-30 00:00", "11-23 00:00"),
    ],
)
def test_the_newest_expected_bar_is_the_last_of_trading_time_that_is_closed(
    timeframe: Timeframe, now: str, newest: str
) -> None:
    assert newest_expected(timeframe, at(now), NewYork()) == at(newest)


@given(st.integers(0, 70 * 24 * 60 * 60), st.sampled_from(ALL))
def test_the_newest_expected_bar_is_the_last_of_all_expected_ones(seconds: int, timeframe: Timeframe) -> None:
    now = at("11-01") + timedelta(seconds=seconds)
    calendars: list[TradingCalendar] = [NewYork(), CurrencyWeek(), RoundTheClock()]
    for calendar in calendars:
        sessions = calendar.sessions_between((now - 30 * DAY).date(), (now + 8 * DAY).date())
        every = expected_opens(timeframe, now - 30 * DAY, now, sessions)
        assert newest_expected(timeframe, now, calendar) == to_instant(int(every[-1]))


@given(st.integers(0, 40 * 24 * 60), st.integers(1, 40 * 24 * 60), st.sampled_from(ALL))
def test_a_series_is_stale_when_the_fourth_bar_after_its_newest_has_begun(
    begin: int, minutes: int, timeframe: Timeframe
) -> None:
    newest = newest_expected(timeframe, at("11-20") + timedelta(minutes=begin), NewYork())
    now = newest + timedelta(minutes=minutes)
    sessions = NewYork().sessions_between(newest.date(), now.date())
    later = expected_opens(timeframe, newest + timeframe.length, now + timeframe.length, sessions)
    trading = [one for one in map(to_instant, later.tolist()) if _has_begun(one, timeframe, now, sessions)]
    assert is_stale(newest, timeframe, now, NewYork()) == (len(trading) > 3)


def _has_begun(opening: datetime, timeframe: Timeframe, now: datetime, sessions: Sequence[Session]) -> bool:
    if timeframe in (D1, W1):
        days = [one for one in sessions if opening.date() <= one.day < (opening + timeframe.length).date()]
        return days[0].opens_at < now
    shared = [one for one in sessions if one.opens_at < opening + timeframe.length and one.closes_at > opening]
    return max(opening, shared[0].opens_at) < now


@pytest.mark.parametrize(
    ("newest", "timeframe", "now"),
    [
        ("11-25 20:59", M1, "11-27 14:30"),
        ("11-27 17:59", M1, "11-30 14:30"),
        ("11-27 17:00", H1, "11-30 16:30"),
        ("11-25 00:00", D1, "11-30 20:00"),
    ],
)
def test_nights_weekends_holidays_and_half_days_make_no_stock_stale(
    newest: str, timeframe: Timeframe, now: str
) -> None:
    assert not is_stale(at(newest), timeframe, at(now), NewYork())
    assert is_stale(at(newest), timeframe, at(now), RoundTheClock())


def test_a_stock_is_stale_once_trading_goes_on_after_three_sessions_without_its_bar() -> None:
    newest, opening = at("11-23"), at("11-30 14:30")
    assert not is_stale(newest, D1, opening, NewYork())
    assert is_stale(newest, D1, opening + timedelta(microseconds=1), NewYork())


def test_a_market_that_never_closes_is_stale_after_more_than_three_timeframes() -> None:
    newest = at("11-28 10:00")
    assert not is_stale(newest, M1, at("11-28 10:04"), None)
    assert is_stale(newest, M1, at("11-28 10:04") + timedelta(microseconds=1), None)


def test_currencies_rest_from_friday_to_sunday_evening_in_new_york() -> None:
    calendar = CurrencyWeek()
    assert newest_expected(M1, at("11-28 12:00"), calendar) == at("11-27 21:59")
    assert newest_expected(M1, at("11-29 22:01"), calendar) == at("11-29 22:00")
    assert not is_stale(at("11-27 21:59"), M1, at("11-29 22:02"), calendar)
    assert is_stale(at("11-27 21:50"), M1, at("11-28 12:00"), calendar)


def test_a_daily_bar_ends_with_its_session_and_a_weekly_one_with_the_weeks_last() -> None:
    assert closes_at(at("11-25"), D1, NewYork()) == at("11-25 21:00")
    assert closes_at(at("11-27"), D1, NewYork()) == at("11-27 18:00")
    assert closes_at(at("11-23"), W1, NewYork()) == at("11-27 18:00")
    assert closes_at(at("11-26"), D1, NewYork()) == at("11-27")
    assert closes_at(at("11-27 14:00"), H1, NewYork()) == at("11-27 15:00")
    assert closes_at(at("11-25"), D1, None) == at("11-26")


def test_the_sessions_of_continuous_markets_follow_each_other_without_a_break() -> None:
    days = RoundTheClock().sessions_between(date(2026, 11, 24), date(2026, 12, 1))
    assert all(one.closes_at == other.opens_at for one, other in pairwise(days))
    week = CurrencyWeek().sessions_between(date(2026, 11, 23), date(2026, 11, 29))
    assert [one.day.weekday() for one in week] == [0, 1, 2, 3, 4]
    assert all(one.closes_at == other.opens_at for one, other in pairwise(week))


@given(st.sampled_from(ALL))
def test_expected_bars_increase_and_lie_on_their_timeframe(timeframe: Timeframe) -> None:
    found = expected_opens(timeframe, at("10-28"), at("12-30"), CurrencyWeek().sessions_between(
        date(2026, 10, 25), date(2026, 12, 31)))  # fmt: skip
    assert (np.diff(found) > 0).all()
    assert all((to_nanoseconds(at("11-02")) - found) % (timeframe.length.total_seconds() * 10**9) == 0)
