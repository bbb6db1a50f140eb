"""When the bars of a timeframe close: by the clock, or with the sessions of a calendar. Pure.

Stores and providers always go by the clock, open time + timeframe, as ``Bars.closed_at`` does. A calendar counts
on top of them, for who watches a market's days and weeks by its sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

import numpy as np

from atf.market.bars import Bars, TimeArray, Timeframe, to_instant, to_nanoseconds
from atf.market.resampling import opening_times
from atf.market.session_times import BY_SESSION
from atf.market.trading_calendar import TradingCalendar

_LENGTHS: Final = {each: each.length // timedelta(microseconds=1) * 1000 for each in Timeframe}
_SHORTEST: Final = 60 * 10**9
"""A bar is open for a minute at least: Auckland's half days end before 00:00Z of their own date."""
_MARGIN: Final = timedelta(days=31)
"""Looked at around the years of the bars: longer than any holidays, and whole weeks."""
_LAST_YEAR: Final = 9998


@dataclass(frozen=True, slots=True)
class EndedBar:
    """A bar that is over, by a calendar or by the clock."""

    opens_at: datetime
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class Closing:
    """Tells when bars close.

    With a calendar a daily bar closes with its session, early closes too, and a weekly one with the last session
    of its week; one without a session by the clock. Intraday bars always close by the clock, also the last one of
    a session. Daily bars open at 00:00Z of the session's date, weekly ones on Monday.

    A bar closes after it opens and by open time + timeframe at the latest, so that the clock bounds what a
    calendar may do.
    """

    timeframe: Timeframe
    calendar: TradingCalendar | None = None

    @property
    def follows_sessions(self) -> bool:
        """Whether the clock alone does not tell."""
        return self.calendar is not None and self.timeframe in BY_SESSION

    def times(self, open_time: TimeArray) -> TimeArray:
        """Return when each bar closes, increasing as the open times are.

        Shape: (n,); nanoseconds since 1970 UTC.
        """
        usual: TimeArray = open_time + _LENGTHS[self.timeframe]
        if not self.follows_sessions or not len(open_time):
            return usual
        opens, closes = self._sessions(to_instant(int(open_time[0])).year, to_instant(int(usual[-1])).year)
        if not len(opens):
            return usual
        places = np.minimum(np.searchsorted(opens, open_time), len(opens) - 1)
        found: TimeArray = np.where(opens[places] == open_time, closes[places], usual)
        return found

    def closed_at(self, bars: Bars, now: datetime) -> Bars:
        """Return the bars that are closed at an instant."""
        return bars[: int(np.searchsorted(self.times(bars.open_time), to_nanoseconds(now), side="right"))]

    def at(self, opens_at: datetime) -> datetime:
        """Return when the bar closes that opens at an instant."""
        return to_instant(int(self.times(np.array([to_nanoseconds(opens_at)], dtype=np.int64))[0]))

    def newest_ended(self, now: datetime) -> EndedBar | None:
        """Return the newest bar that a session has ended by now; None without a calendar, or if there is none."""
        if not self.follows_sessions:
            return None
        opens, closes = self._sessions(now.year, now.year)
        place = int(np.searchsorted(closes, to_nanoseconds(now), side="right")) - 1
        return None if place < 0 else EndedBar(to_instant(int(opens[place])), to_instant(int(closes[place])))

    def _sessions(self, first: int, last: int) -> tuple[TimeArray, TimeArray]:
        if self.calendar is None:
            raise TypeError("bars that close by the clock have no sessions")
        return _sessions_of(self.calendar, self.timeframe, first, min(last, _LAST_YEAR))


@lru_cache(maxsize=64)
def _sessions_of(
    calendar: TradingCalendar, timeframe: Timeframe, first: int, last: int
) -> tuple[TimeArray, TimeArray]:
    """Return when the bars of all sessions of some years open and close, oldest first."""
    begin, end = date(first, 1, 1) - _MARGIN, date(last, 12, 31) + _MARGIN
    sessions = calendar.sessions_between(begin, end)
    days = [to_nanoseconds(datetime.combine(session.day, time(), UTC)) for session in sessions]
    opens = opening_times(np.array(days, dtype=np.int64), timeframe)
    closes = np.array([to_nanoseconds(session.closes_at) for session in sessions], dtype=np.int64)
    is_last = np.append(opens[1:] != opens[:-1], True)[: len(opens)]
    opens = opens[is_last]
    return opens, np.clip(closes[is_last], opens + _SHORTEST, opens + _LENGTHS[timeframe])
