"""What makes bars of a file fit for the store: the right timeframe, ATF's times, bad bars apart. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from atf.errors import InvalidInput
from atf.market.bar_store import PutAside
from atf.market.bars import COLUMNS, Bars, Timeframe, to_instant, to_nanoseconds
from atf.market.usable_bars import usable_bars

_MICROSECOND: Final = 1000


def importable(bars: Bars, timeframe: Timeframe, zone: ZoneInfo, now: datetime) -> tuple[Bars, PutAside]:
    """Part the bars of a file into those that may be stored and those that are put aside.

    Daily bars whose time is not midnight UTC are those of an exchange's clock: they move to 00:00Z of its date.

    Errors: InvalidInput with ``field`` "timeframe" if the bars are as far apart as another timeframe's.
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


def usual_timeframe(bars: Bars) -> Timeframe | None:
    """Return the timeframe whose length is the most frequent distance between bars, None if there is none."""
    if len(bars) < 2:
        return None
    distances, counts = np.unique(np.diff(bars.open_time), return_counts=True)
    usual = int(distances[np.argmax(counts)])
    lengths = {to_nanoseconds(to_instant(0) + one.length): one for one in Timeframe}
    return lengths.get(usual)


def _by_date(bars: Bars, zone: ZoneInfo) -> Bars:
    """Return daily bars at 00:00Z of the date that their exchange's clock shows."""
    day = 86_400 * 10**9
    if not len(bars) or not (bars.open_time % day).any():
        return bars
    dates = [bars.time_at(index).astimezone(zone).date() for index in range(len(bars))]
    times = np.array([to_nanoseconds(datetime(d.year, d.month, d.day, tzinfo=UTC)) for d in dates], np.int64)
    times, last = _last_of_each(times)
    values = np.column_stack([bars.column(name)[last] for name in COLUMNS])
    return Bars.from_columns(times, values)


def _last_of_each(times: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[np.ndarray, np.ndarray]:
    is_last = np.ones(len(times), dtype=np.bool_)
    is_last[:-1] = times[1:] != times[:-1]
    return times[is_last], is_last
