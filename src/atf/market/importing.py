"""What makes bars of a file fit for the store: the right timeframe, ATF's times, bad bars apart. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from atf.errors import InvalidInput
from atf.market.bar_store import PutAside
from atf.market.bars import COLUMNS, Bars, TimeArray, Timeframe
from atf.market.session_dates import A_DAY, NO_DATE, WeekendDate, dates_of, mondays_of
from atf.market.session_times import BY_SESSION
from atf.market.trading_calendar import TradingCalendar
from atf.market.usable_bars import usable_bars


def importable(
    bars: Bars,
    timeframe: Timeframe,
    calendar: TradingCalendar,
    now: datetime,
    *,
    may_be_local: bool = False,
    weekend: WeekendDate | None = None,
) -> tuple[Bars, PutAside]:
    """Part the bars of a file into those that may be stored and those that are put aside.

    Daily and weekly bars with a time of day move to 00:00Z of the date of their session, weekly ones on to their
    Monday. Those of which date or week cannot be told keep their time and are put aside for it.

    ``may_be_local``: the file's times came without an offset. ``weekend``: what weeks mean that are dated so.

    Errors: InvalidInput with ``field`` "timeframe" if the bars are as far apart as another timeframe's, or much
            closer together than the one that is wanted; as ``mondays_of``.
    """
    _refuse_other_timeframe(bars, timeframe)
    if timeframe in BY_SESSION:
        bars = _moved(bars, _by_date(bars.open_time, calendar, may_be_local=may_be_local))
    if timeframe is Timeframe.W1:
        bars = _moved(bars, _by_week(bars.open_time, weekend))
    return usable_bars(bars, timeframe, now)


def _refuse_other_timeframe(bars: Bars, timeframe: Timeframe) -> None:
    found = usual_timeframe(bars)
    if found is not None and found is not timeframe:
        raise InvalidInput(
            f"the bars are {found} apart, not {timeframe}: give --timeframe {found}", field="timeframe"
        )
    distance = _usual_distance(bars)
    # A day is an hour shorter where clocks change; bars of 7 minutes would all become one of their day.
    if distance is not None and distance <= timeframe.length / 2:
        known = ", ".join(Timeframe)
        raise InvalidInput(
            f"the bars are {distance} apart, not {timeframe}; known are {known}", field="timeframe"
        )


def usual_timeframe(bars: Bars) -> Timeframe | None:
    """Return the timeframe whose length is the most frequent distance between bars, None if there is none."""
    lengths = {one.length: one for one in Timeframe}
    distance = _usual_distance(bars)
    return None if distance is None else lengths.get(distance)


def _usual_distance(bars: Bars) -> timedelta | None:
    if len(bars) < 2:
        return None
    distances, counts = np.unique(np.diff(bars.open_time), return_counts=True)
    return timedelta(microseconds=int(distances[np.argmax(counts)]) // 1000)


def _by_date(times: TimeArray, calendar: TradingCalendar, *, may_be_local: bool) -> TimeArray:
    """Return the times at 00:00Z of their session's date, those without one as they are.

    One that is at 00:00Z stays: there it is a date, as in a file whose last bar alone has a time of day.
    """
    moving = np.flatnonzero(times % A_DAY)
    if not len(moving):
        return times
    dates = dates_of(times[moving], calendar, may_be_local=may_be_local)
    moved = times.copy()
    moved[moving] = np.where(dates == NO_DATE, times[moving], dates)
    return moved


def _by_week(times: TimeArray, weekend: WeekendDate | None) -> TimeArray:
    """Return dates as the Mondays of their weeks, and what is no date as it is."""
    dated = np.flatnonzero(times % A_DAY == 0)
    moved = times.copy()
    moved[dated] = mondays_of(times[dated], weekend)
    return moved


def _moved(bars: Bars, times: TimeArray) -> Bars:
    """Return the bars at other times; of those that come to the same one the last counts."""
    order = np.argsort(times, kind="stable")
    times = times[order]
    is_last = np.ones(len(times), dtype=np.bool_)
    is_last[:-1] = times[1:] != times[:-1]
    values = np.column_stack([bars.column(name)[order][is_last] for name in COLUMNS])
    return Bars.from_columns(times[is_last], values)
