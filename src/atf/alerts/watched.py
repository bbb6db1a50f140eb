"""What an alert watches: a series and when its bars close, and how far back its operands read. Pure.

Without TA-Lib, so that alerts can be checked and stored where nothing is computed; ``readings`` computes.
"""

from __future__ import annotations

from dataclasses import dataclass

from atf.alerts.state import IntArray
from atf.indicators.registry import window_of
from atf.market.bars import Bars, Series, Timeframe
from atf.market.closing import Closing
from atf.market.trading_calendar import TradingCalendar
from atf.rules.operands import IndicatorOperand, Measured


@dataclass(frozen=True, slots=True)
class Watched:
    """A series, and the calendar whose sessions end its daily and weekly bars, if the alert names one.

    ``is_live``: its forming bar is looked at as well.
    """

    series: Series
    calendar: str | None = None
    is_live: bool = False


def close_times(bars: Bars, timeframe: Timeframe, calendar: TradingCalendar | None = None) -> IntArray:
    """Return when each bar closes: by the clock, or with the sessions of a calendar.

    Shape: (n,); nanoseconds since 1970 UTC.
    """
    return Closing(timeframe, calendar).times(bars.open_time)


def bars_behind(operand: Measured) -> int:
    """Return how many bars, its own included, a reading depends on."""
    own = window_of(operand.request) if isinstance(operand, IndicatorOperand) else 1
    return operand.offset + own
