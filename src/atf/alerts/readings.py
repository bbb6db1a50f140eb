"""What operands read on bars: each reading of a series once, whoever asks for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import nan

import numpy as np

from atf.alerts.state import NEVER, IntArray
from atf.indicators.indicator import IndicatorRequest
from atf.indicators.indicator_service import IndicatorSession
from atf.market.bars import Bars, FloatArray, to_instant
from atf.rules.operands import IndicatorOperand, Measured


@dataclass(frozen=True, slots=True)
class WatchedBars:
    """Closed bars of what is watched, when each closed, and their indicators.

    Time: ``close_time`` in nanoseconds since 1970 UTC. Shape: (n,).
    """

    bars: Bars
    close_time: IntArray
    indicators: IndicatorSession

    def closes_at(self, index: int) -> datetime:
        """Return when the bar at an index closed."""
        return to_instant(int(self.close_time[index]))


Source = str | IndicatorRequest
"""What is read: a column of the bars by name, or an indicator."""


def source_of(operand: Measured) -> Source:
    """Return what an operand reads, before its offset and its factor."""
    return operand.request if isinstance(operand, IndicatorOperand) else operand.column


def read_newest(watched: WatchedBars, source: Source, offset: int) -> float:
    """Return what is read ``offset`` bars before the newest one; NaN where it is unknown."""
    index = len(watched.bars.open_time) - 1 - offset
    if index < 0:
        return nan
    if isinstance(source, str):
        return watched.bars.column(source).item(index)
    if not offset:
        return watched.indicators.newest(source)
    return float(watched.indicators.values(source, index, index + 1)[0])


def read(watched: WatchedBars, source: Source, offset: int, width: int) -> FloatArray:
    """Return what is read for the newest ``width`` bars, ``offset`` bars before each.

    Shape: (width,); NaN where it is unknown, and in front where there are fewer bars.
    """
    count = len(watched.bars)
    first, stop = max(count - width - offset, 0), max(count - offset, 0)
    if isinstance(source, str):
        found = watched.bars.column(source)[first:stop]
    else:
        found = watched.indicators.values(source, first, stop)
    return found if len(found) == width else np.concatenate([np.full(width - len(found), np.nan), found])


def newest(times: IntArray, width: int) -> IntArray:
    """Return the newest ``width`` of the times, NEVER in front where there are fewer. Shape: (n,) -> (width,)."""
    found = times[-width:]
    return found if len(found) == width else np.concatenate([np.full(width - len(found), NEVER), found])
