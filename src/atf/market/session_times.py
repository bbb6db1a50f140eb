"""Sessions as arrays: when each opens and closes, and the day whose date its daily bar has. Pure.

Bars of a day are named by the date of their session, wherever in UTC it begins: Sydney's opens on the evening
before, and the Monday of currencies on Sunday.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

import numpy as np

from atf.market.bars import Bars, TimeArray, Timeframe, to_nanoseconds
from atf.market.symbols import ALWAYS_OPEN
from atf.market.trading_calendar import Session, TradingCalendar

BY_SESSION: Final = (Timeframe.D1, Timeframe.W1)
"""Timeframes whose bars are made of sessions; all others are parts of UTC days."""
NO_SESSION: Final = -1
BEFORE_ITS_DATE: Final = timedelta(days=1)
"""A session begins at most so long before 00:00Z of its date; it ends within that date in UTC."""


@dataclass(frozen=True, slots=True, eq=False)
class SessionTimes:
    """The sessions of a stretch of time, oldest first; none begins before the one before it is over.

    Shape: three arrays of one length.
    Units: nanoseconds since 1970 UTC; ``days`` are at 00:00Z of the sessions' dates.
    """

    days: TimeArray
    opens: TimeArray
    closes: TimeArray

    @classmethod
    def of(cls, sessions: Sequence[Session]) -> SessionTimes:
        """Return sessions as arrays."""
        days = [datetime.combine(one.day, time(), UTC) for one in sessions]
        rows = (days, [one.opens_at for one in sessions], [one.closes_at for one in sessions])
        return cls(*(np.array([to_nanoseconds(each) for each in row], dtype=np.int64) for row in rows))

    def __len__(self) -> int:
        return len(self.days)

    def holding(self, open_time: TimeArray, length: int) -> TimeArray:
        """Return which session each bar belongs to: the one in which it opens, else one that begins within it.

        Shape: (n,) -> (n,) places among the sessions, ``NO_SESSION`` for a bar outside of all of them.
        Units: ``length`` of a bar in nanoseconds.
        """
        if not len(self):
            return np.full(len(open_time), NO_SESSION, dtype=np.int64)
        newest = np.searchsorted(self.opens, open_time, side="right") - 1
        is_inside = (newest >= 0) & (open_time < self.closes[newest])
        following = np.minimum(newest + 1, len(self) - 1)
        begins_within = (self.opens[following] > open_time) & (self.opens[following] < open_time + length)
        found: TimeArray = np.where(is_inside, newest, np.where(begins_within, following, NO_SESSION))
        return found


def follows_sessions(source: Timeframe, target: Timeframe, calendar: TradingCalendar) -> bool:
    """Whether bars of the target are made of the calendar's sessions, if they are made of the source's bars.

    Days and weeks of intraday bars are; days have a date already, and a market that never closes has UTC days.
    """
    return target in BY_SESSION and source not in BY_SESSION and calendar.name != ALWAYS_OPEN


def sessions_of(
    bars: Bars, source: Timeframe, target: Timeframe, calendar: TradingCalendar
) -> SessionTimes | None:
    """Return all sessions in which the bars may lie; None if the target's bars are made of UTC time."""
    if not len(bars) or not follows_sessions(source, target, calendar):
        return None
    until = bars.time_at(-1) + source.length + BEFORE_ITS_DATE
    return SessionTimes.of(calendar.sessions_between(bars.time_at(0).date(), until.date()))
