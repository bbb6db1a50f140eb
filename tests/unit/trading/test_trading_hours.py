"""When a bot may open positions: local hours, days, sessions of an exchange, clocks that change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import InvalidInput, InvariantViolation
from atf.market.continuous_calendars import CurrencyWeek
from atf.market.trading_calendar import Session
from atf.notifications.quiet_hours import WEEK, QuietHours, Weekday
from atf.trading.trading_hours import is_open, parse_hours

NEW_YORK = "America/New_York"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def opened(schedule: dict[str, Any], *times: str) -> list[bool]:
    """Whether it is open at instants of UTC."""
    return [is_open(parse_hours(schedule), at(time)) for time in times]


class Tokyo:
    """Sessions with a lunch on Mondays."""

    name = "XTKS"
    zone = ZoneInfo("Asia/Tokyo")

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return tuple(self._session(day) for day in days if day.weekday() == 0)

    def _session(self, day: date) -> Session:
        hours = [datetime(day.year, day.month, day.day, *clock, tzinfo=self.zone) for clock in CLOCKS]
        return Session(day, hours[0], hours[3], (hours[1], hours[2]))


CLOCKS = ((9, 0), (11, 30), (12, 30), (15, 0))


def test_without_hours_it_is_always_open() -> None:
    assert is_open(None, at("2026-01-04T03:00"))
    assert opened({}, "2026-01-04T03:00") == [True]


def test_hours_begin_at_their_first_instant_and_end_before_their_last() -> None:
    hours = {"hours": "09:30-16:00", "timezone": NEW_YORK}
    times = ("2026-01-05T14:29:59", "2026-01-05T14:30", "2026-01-05T20:59:59", "2026-01-05T21:00")
    assert opened(hours, *times) == [False, True, True, False]


def test_hours_follow_the_local_clock_over_its_changes() -> None:
    hours = {"hours": "09:30-16:00", "timezone": NEW_YORK}
    assert opened(hours, "2026-07-06T13:30", "2026-07-06T20:00", "2026-01-05T13:30") == [True, False, False]


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    night = {"hours": "22:00-02:00", "days": ["fri"]}
    times = ("2026-01-09T21:59", "2026-01-09T22:00", "2026-01-10T01:59", "2026-01-10T02:00", "2026-01-10T22:00")
    assert opened(night, *times) == [False, True, True, False, False]


def test_days_alone_are_whole_days_of_the_zone() -> None:
    days = {"days": ["mon"], "timezone": "Asia/Tokyo"}
    assert opened(days, "2026-01-04T14:59", "2026-01-04T15:00", "2026-01-05T15:00") == [False, True, False]
    assert opened({"hours": "20:00-24:00"}, "2026-01-05T23:59:59", "2026-01-06T00:00") == [True, False]


def test_a_calendar_counts_its_sessions_without_their_pauses() -> None:
    hours = parse_hours({"calendar": "XTKS"})
    times = ("2026-01-05T00:00", "2026-01-05T02:30", "2026-01-05T03:30", "2026-01-05T06:00", "2026-01-06T00:00")
    assert [is_open(hours, at(time), Tokyo()) for time in times] == [True, False, True, False, False]


def test_hours_of_a_calendar_are_of_its_zone_and_within_its_sessions() -> None:
    hours = parse_hours({"calendar": "XTKS", "hours": "14:00-18:00"})
    times = ("2026-01-05T04:59", "2026-01-05T05:00", "2026-01-05T05:59", "2026-01-05T06:00")
    assert [is_open(hours, at(time), Tokyo()) for time in times] == [False, True, True, False]


def test_a_session_that_begins_on_the_evening_before_is_found() -> None:
    hours = parse_hours({"calendar": "24/5"})
    times = ("2026-01-04T21:59", "2026-01-04T22:00", "2026-01-09T21:59", "2026-01-09T22:00")
    assert [is_open(hours, at(time), CurrencyWeek()) for time in times] == [False, True, True, False]


def test_hours_of_a_calendar_are_never_judged_without_it() -> None:
    with pytest.raises(InvariantViolation, match="XNYS"):
        is_open(parse_hours({"calendar": "XNYS"}), at("2026-01-05T15:00"))


@given(
    st.times(),
    st.times(),
    st.frozensets(st.sampled_from(WEEK), min_size=1),
    st.integers(0, 10 * 366 * 86400),
)
def test_hours_hold_whenever_quiet_hours_of_the_same_times_would(
    begins: time, ends: time, days: frozenset[Weekday], seconds: int
) -> None:
    instant = at("2020-01-01") + timedelta(seconds=seconds)
    begins, ends = (one.replace(second=0, microsecond=0) for one in (begins, ends))
    if begins == ends:
        return
    quiet = QuietHours(begins, ends, "Asia/Tokyo", days)  # whose clock is never changed
    text = f"{begins:%H:%M}-{ends:%H:%M}"
    hours = parse_hours({"hours": text, "days": list(days), "timezone": "Asia/Tokyo"})
    assert is_open(hours, instant) == (quiet.holds(instant) is not None)


@pytest.mark.parametrize("hours", ["9:30-16:00", "09:30", "09:30-24:30", "24:00-09:00", "12:00-12:00", "a-b", ""])
def test_what_are_no_hours_is_refused(hours: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_hours({"hours": hours, "timezone": "Mars"})
    assert [one.field for one in refusal.value.problems] == ["hours", "timezone"]
