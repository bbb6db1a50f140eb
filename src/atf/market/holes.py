"""Holes among the newest bars of a series, which its provider may still fill. Pure.

Whether a hole is one, or the night of a market, is not asked here: to begin before it is the same one question.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from atf.market.bars import COLUMNS, Bars, Timeframe, to_nanoseconds

RECENT: Final = 16
"""A hole is looked at until the bar behind it is older than so many timeframes."""
RECENT_BARS: Final = RECENT + 2
"""Those of the recent timeframes, the newest one, and one before them, behind which a hole may begin."""
_WIDEST: Final = 90
"""No further back is asked from because of a hole: the smallest pages of exchanges have a hundred bars."""


def before_recent_hole(bars: Bars, timeframe: Timeframe) -> datetime:
    """Return when the last bar opens that has no recent hole before it: usually the newest one.

    It may be an instant within a hole that is wider than a page.

    Shape: at least one bar.
    """
    newest = bars.time_at(-1)
    recent = bars.last(RECENT_BARS)
    is_recent = recent.open_time[1:] >= to_nanoseconds(newest - RECENT * timeframe.length)
    holes = np.flatnonzero(_holes(recent, timeframe) & is_recent)
    if not len(holes):
        return newest
    return max(recent.time_at(int(holes[0])), newest - _WIDEST * timeframe.length)


def has_hole_since(bars: Bars, timeframe: Timeframe, since: datetime) -> bool:
    """Whether bars are missing between two that are there, the first of them at an instant or the last before."""
    begin = max(0, bars.first_after(since) - 1)
    return bool(_holes(bars[begin:], timeframe).any())


def news(held: Bars, fetched: Bars) -> Bars:
    """Return the fetched bars that are not held, and the newest held one if it has changed.

    Older ones stay as they are held, so that a hole near them changes nothing but itself.

    Shape: ``held``: at least one bar.
    """
    is_held = np.isin(fetched.open_time, held.open_time)
    at = int(np.searchsorted(fetched.open_time, held.open_time[-1]))
    if at < len(fetched) and is_held[at]:
        newest, other = held[len(held) - 1 :], fetched[at : at + 1]
        is_held[at] = all(np.array_equal(newest.column(n), other.column(n), equal_nan=True) for n in COLUMNS)
    return fetched.where(~is_held)


def _holes(bars: Bars, timeframe: Timeframe) -> npt.NDArray[np.bool_]:
    """Return for each bar but the newest whether one is missing behind it."""
    found: npt.NDArray[np.bool_] = np.diff(bars.open_time) > timeframe.length // timedelta(microseconds=1) * 1000
    return found
