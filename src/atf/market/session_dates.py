"""Which session a daily bar with a time of day belongs to, and which week a date stands for. Pure.

Files write an exchange's days at its midnight, its opening or its close, by UTC or by the exchange's own clock.
All bars of a file are written one way: the one counts that makes most sessions of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from atf.errors import InvalidInput
from atf.market.bars import TimeArray, Timeframe, to_instant, to_nanoseconds
from atf.market.resampling import opening_times
from atf.market.session_times import BEFORE_ITS_DATE, SessionTimes
from atf.market.trading_calendar import TradingCalendar

NO_DATE: Final = -(2**63)
A_DAY: Final = 86_400 * 10**9
_ONE_DAY: Final = timedelta(days=1)
_AUCTION: Final = timedelta(minutes=30)
"""A closing auction ends so long after the close at the latest."""
_LAST_MINUTE: Final = time(23, 59)
_HOUR_OF_SUMMER: Final = time(1)
"""Midnight by a clock that ignores summer time."""
_ENOUGH: Final = 0.9
"""The part of all bars that must have a date: otherwise the file is written in a way that is not known here."""
_SATURDAY: Final = 5
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Side = Literal["left", "right"]


class WeekendDate(StrEnum):
    """What weeks mean that are dated Saturday or Sunday: the day before they open, or the one that ends them."""

    OPENS = "opens"
    ENDS = "ends"


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """One way to read all times: the dates, and how many sessions they are."""

    dates: TimeArray
    sessions: int


def dates_of(times: TimeArray, calendar: TradingCalendar, *, may_be_local: bool) -> TimeArray:
    """Return the session's date of each time of day.

    ``may_be_local``: the times came without an offset, and may be those of the exchange's own clock, though they
    were taken for UTC.

    Shape: (n,) -> (n,)
    Units: nanoseconds since 1970 UTC; 00:00Z of the date, ``NO_DATE`` where none can be told: for all if two ways
           to read them make as many sessions and other dates.
    """
    readings = list(_readings(times, calendar, may_be_local=may_be_local))
    most = max(one.sessions for one in readings)
    best, *others = (one.dates for one in readings if one.sessions == most)
    is_ambiguous = any((one != best).any() for one in others)
    if is_ambiguous or np.count_nonzero(best != NO_DATE) < _ENOUGH * len(best):
        return np.full(len(times), NO_DATE, dtype=np.int64)
    return best


def mondays_of(dates: TimeArray, weekend: WeekendDate | None) -> TimeArray:
    """Return the Monday of the week that each date stands for: that in which it lies, from Monday to Friday.

    A date stays as it is where another one stands for the same week, and on weekends unless it is said what they
    mean.

    Shape:  (n,) -> (n,)
    Units:  nanoseconds since 1970 UTC, all at 00:00Z.
    Errors: InvalidInput if most dates are on weekends and it is not said what that means.
    """
    mondays = opening_times(dates, Timeframe.W1)
    weekdays = (dates - mondays) // A_DAY
    on_weekend = weekdays >= _SATURDAY
    if weekend is None and 2 * np.count_nonzero(on_weekend) > len(dates):
        day = _WEEKDAYS[int(np.argmax(np.bincount(weekdays)))]
        raise InvalidInput(
            f"is needed for weeks that are dated {day}: opens if it is the day before their Monday, ends if it "
            "is their last day",
            field="--weekend-date",
        )
    if weekend is WeekendDate.OPENS:
        mondays = np.where(on_weekend, mondays + 7 * A_DAY, mondays)
    elif weekend is None:
        mondays = np.where(on_weekend, dates, mondays)
    _, group, count = np.unique(mondays, return_inverse=True, return_counts=True)
    found: TimeArray = np.where(count[group] == 1, mondays, dates)
    return found


def _readings(times: TimeArray, calendar: TradingCalendar, *, may_be_local: bool) -> Iterator[_Reading]:
    """Yield the ways to read times: by which clock, and where sessions touch, as a beginning or as an end."""
    instants = [to_instant(int(each)) for each in times]
    clocks = [(instants, _ONE_DAY)]
    if may_be_local:
        clocks.append(([each.replace(tzinfo=calendar.zone).astimezone(UTC) for each in instants], _AUCTION))
    sessions = _sessions_around(instants, calendar)
    for read, after_close in clocks:
        for side in ("right", "left"):
            yield _read(read, calendar.zone, sessions, after_close, side)


def _sessions_around(instants: list[datetime], calendar: TradingCalendar) -> SessionTimes:
    around = 2 * BEFORE_ITS_DATE
    return SessionTimes.of(
        calendar.sessions_between((min(instants) - around).date(), (max(instants) + around).date())
    )


def _read(
    instants: list[datetime], zone: ZoneInfo, sessions: SessionTimes, after_close: timedelta, side: Side
) -> _Reading:
    """Return dates: those of the clock at midnight and in the last minute of a day, else those of sessions.

    A session has the times from its opening to its close, and those after it of the same date, as long as
    ``after_close``. A time at which one session ends and the next begins is the next one's for ``side`` "right".
    """
    local = [each.astimezone(zone) for each in instants]
    clock_dates = np.array([_date(each) if _is_date(each) else NO_DATE for each in local], dtype=np.int64)
    times = np.array([to_nanoseconds(each) for each in instants], dtype=np.int64)
    session_dates = _dates_in_sessions(times, local, sessions, after_close, side)
    dates: TimeArray = np.where(clock_dates == NO_DATE, session_dates, clock_dates)
    return _Reading(dates, len(np.intersect1d(dates, sessions.days)))


def _dates_in_sessions(
    times: TimeArray, local: list[datetime], sessions: SessionTimes, after_close: timedelta, side: Side
) -> TimeArray:
    if not len(sessions):
        return np.full(len(times), NO_DATE, dtype=np.int64)
    places = np.searchsorted(sessions.opens, times, side=side) - 1
    newest, closes = sessions.days[places], sessions.closes[places]
    is_of_its_date: npt.NDArray[np.bool_] = newest == np.array([_date(each) for each in local], dtype=np.int64)
    latest = closes + np.where(is_of_its_date, after_close // timedelta(microseconds=1) * 1000, 0)
    # Whoever writes openings has none at a close, but where the next session opens at it.
    is_an_end = (times == closes) & (side == "right")
    found: TimeArray = np.where((places >= 0) & (times <= latest) & ~is_an_end, newest, NO_DATE)
    return found


def _is_date(local: datetime) -> bool:
    """Whether a time of day stands for its date by a clock, whatever the sessions are."""
    is_midnight = local.time() == time() or (local.time() == _HOUR_OF_SUMMER and bool(local.dst()))
    return is_midnight or local.time() >= _LAST_MINUTE


def _date(local: datetime) -> int:
    return to_nanoseconds(datetime(local.year, local.month, local.day, tzinfo=UTC))
