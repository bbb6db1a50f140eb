"""Which time a bar has for Backtrader: its end, as Backtrader's own resampling wants it. Pure.

A bar that ends at midnight has the last moment before it, which Backtrader calls the end of the session: it
belongs to the day that it ends, and a day's last hour completes that day at once, not with the next day's first.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

import backtrader as bt

from atf.market.bars import Timeframe

_LAST_MOMENT: Final = time(23, 59, 59, 999990)  # Backtrader's own end of a session
_DAY: Final = timedelta(days=1)

BACKTRADER_TIMEFRAMES: Final = {
    Timeframe.M1: (bt.TimeFrame.Minutes, 1),
    Timeframe.M5: (bt.TimeFrame.Minutes, 5),
    Timeframe.M15: (bt.TimeFrame.Minutes, 15),
    Timeframe.M30: (bt.TimeFrame.Minutes, 30),
    Timeframe.H1: (bt.TimeFrame.Minutes, 60),
    Timeframe.H4: (bt.TimeFrame.Minutes, 240),
    Timeframe.D1: (bt.TimeFrame.Days, 1),
    Timeframe.W1: (bt.TimeFrame.Weeks, 1),
}


def bar_end(open_time: datetime, timeframe: Timeframe) -> datetime:
    """Return the end of a bar as Backtrader shows it: UTC without saying so."""
    end = open_time.astimezone(UTC).replace(tzinfo=None) + timeframe.length
    if timeframe.length >= _DAY:
        return datetime.combine((end - _DAY).date(), _LAST_MOMENT)  # whatever the hour at which its day began
    if end.time() == time.min:
        return datetime.combine((end - _DAY).date(), _LAST_MOMENT)
    return end


def end_of_day(day: datetime) -> datetime:
    """Return the last moment of an instant's day."""
    return datetime.combine(day.date(), _LAST_MOMENT)


def as_number(instant: datetime) -> float:
    """Return an aware instant in Backtrader's count of days."""
    return float(bt.date2num(instant.astimezone(UTC).replace(tzinfo=None)))
