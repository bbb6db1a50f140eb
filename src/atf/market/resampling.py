"""Coarser bars from finer ones. Pure.

A coarser bar opens at a multiple of its length since the epoch, as every provider and the alert semantics have
it; a week opens on Monday (ISO 8601), which is not a multiple since the epoch, a Thursday. Days and weeks of a
market with sessions are made of these and named by their dates.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import numpy as np

from atf.errors import InvalidInput
from atf.market.bars import COLUMNS, Bars, FloatArray, TimeArray, Timeframe, to_instant, to_nanoseconds
from atf.market.session_times import NO_SESSION, SessionTimes

_NANOSECONDS_A_DAY: Final = 86_400 * 10**9
_FIRST_MONDAY: Final = 4 * _NANOSECONDS_A_DAY
"""1970-01-05, seen from the epoch."""


def resampled(bars: Bars, source: Timeframe, target: Timeframe, sessions: SessionTimes | None = None) -> Bars:
    """Return bars of the target timeframe, each from the source's bars that lie within it.

    The first known open, the highest high, the lowest low, the last known close, the sum of the volumes; a
    value that no bar has is NaN. Nothing is filled: where no bar was, none is made. The newest bar may still be
    forming; whether it is closed is for ``Bars.closed_at`` to say.

    ``sessions``: those of the bars' market, to make days or weeks of them; what was traded outside of a session
    is in none of them then. Without them days are those of UTC.

    Shape:  (n,) -> (m,), m <= n.
    Errors: InvalidInput if the target is not a multiple of the source, or a source's bar lies in two of its days.
    """
    if target.length < source.length or target.length % source.length:
        raise InvalidInput(f"{source} bars cannot make {target} bars", field="timeframe")
    if not len(bars) or source is target:
        return bars
    kept, opens = homes(bars.open_time, source, target, sessions)
    if not len(opens):
        return bars[:0]
    starts = np.flatnonzero(np.concatenate([[True], opens[1:] != opens[:-1]]))
    columns = {name: bars.column(name)[kept] for name in COLUMNS}
    values = np.column_stack(
        [
            _first_known(columns["open"], starts),
            np.fmax.reduceat(columns["high"], starts),
            np.fmin.reduceat(columns["low"], starts),
            _last_known(columns["close"], starts),
            _sum_of_known(columns["volume"], starts),
        ]
    )
    return Bars.from_columns(opens[starts], values)


def homes(
    open_time: TimeArray, source: Timeframe, target: Timeframe, sessions: SessionTimes | None
) -> tuple[TimeArray, TimeArray]:
    """Return which bars lie in a bar of the target at all, and when that one opens.

    Shape:  (n,) -> (k,) places among the bars, and (k,) nanoseconds since 1970 UTC; k = n without sessions.
    Errors: InvalidInput if a bar lies in two sessions that are parts of different bars.
    """
    if sessions is None:
        return np.arange(len(open_time)), opening_times(open_time, target)
    length = source.length // timedelta(microseconds=1) * 1000
    places = sessions.holding(open_time, length)
    kept = np.flatnonzero(places != NO_SESSION)
    places, names = places[kept], opening_times(sessions.days, target)
    following = np.minimum(places + 1, len(sessions) - 1)
    if ((sessions.opens[following] < open_time[kept] + length) & (names[following] != names[places])).any():
        raise InvalidInput(
            f"{source} bars cannot make {target} bars of a market whose sessions turn within a bar of {source}",
            field="timeframe",
        )
    return kept, names[places]


def opening_times(times: TimeArray, timeframe: Timeframe) -> TimeArray:
    """Return when the bar of the timeframe opens that holds each instant.

    Units: nanoseconds since 1970 UTC.
    """
    length = timeframe.length // timedelta(microseconds=1) * 1000
    origin = _FIRST_MONDAY if timeframe is Timeframe.W1 else 0
    opens: TimeArray = (times - origin) // length * length + origin
    return opens


def opening_time(instant: datetime, timeframe: Timeframe) -> datetime:
    """Return when the bar of the timeframe opens that holds an instant."""
    return to_instant(int(opening_times(np.array([to_nanoseconds(instant)], dtype=np.int64), timeframe)[0]))


def _first_known(column: FloatArray, starts: TimeArray) -> FloatArray:
    """Return the first value of each group that is not NaN."""
    return _last_known(column[::-1], (len(column) - _ends(starts, len(column)))[::-1])[::-1]


def _last_known(column: FloatArray, starts: TimeArray) -> FloatArray:
    """Return the last value of each group that is not NaN."""
    positions = np.where(np.isnan(column), -1, np.arange(len(column)))
    newest = np.maximum.reduceat(positions, starts)
    return np.where(newest >= starts, column[newest], np.nan)


def _sum_of_known(column: FloatArray, starts: TimeArray) -> FloatArray:
    known = np.isfinite(column)
    sums = np.add.reduceat(np.where(known, column, 0.0), starts)
    return np.where(np.logical_or.reduceat(known, starts), sums, np.nan)


def _ends(starts: TimeArray, count: int) -> TimeArray:
    ends: TimeArray = np.concatenate([starts[1:], [count]])
    return ends
