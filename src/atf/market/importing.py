"""What makes bars of a file fit for the store: the right timeframe, ATF's times, bad bars apart. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from atf.errors import InvalidInput
from atf.market.bar_store import PutAside
from atf.market.bars import COLUMNS, Bars, Timeframe, to_nanoseconds
from atf.market.usable_bars import usable_bars


def importable(bars: Bars, timeframe: Timeframe, zone: ZoneInfo, now: datetime) -> tuple[Bars, PutAside]:
    """Part the bars of a file into those that may be stored and those that are put aside.

    Daily bars whose time is not midnight UTC are those of an exchange's clock: they move to 00:00Z of its date.

    Errors: InvalidInput with ``field`` "timeframe" if the bars are as far apart as another timeframe's, or much
            closer together than the one that is wanted.
    """
    _refuse_other_timeframe(bars, timeframe)
    if timeframe is Timeframe.D1:
        bars = _by_date(bars, zone)
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


def _by_date(bars: Bars, zone: ZoneInfo) -> Bars:
    """Return daily bars at 00:00Z of the date that their exchange's clock shows.

    One that is at 00:00Z stays: there it is a date, as in a file whose last bar alone has a time of day.
    """
    day = 86_400 * 10**9
    moving = np.flatnonzero(bars.open_time % day)
    if not len(moving):
        return bars
    dates = [bars.time_at(int(index)).astimezone(zone).date() for index in moving]
    times = bars.open_time.copy()
    times[moving] = [to_nanoseconds(datetime(d.year, d.month, d.day, tzinfo=UTC)) for d in dates]
    times, last = _last_of_each(times)
    values = np.column_stack([bars.column(name)[last] for name in COLUMNS])
    return Bars.from_columns(times, values)


def _last_of_each(times: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[np.ndarray, np.ndarray]:
    is_last = np.ones(len(times), dtype=np.bool_)
    is_last[:-1] = times[1:] != times[:-1]
    return times[is_last], is_last
