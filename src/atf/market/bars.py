"""Bars: the timeframe, the series they belong to, and an immutable columnar run of them.

Pure: no I/O and no clock. A bar's time is its **open** time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from math import nan
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
TimeArray = npt.NDArray[np.int64]

COLUMNS: Final = ("open", "high", "low", "close", "volume")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Timeframe(StrEnum):
    """Fixed-length bars, as alert_semantics has them."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"
    W1 = "1w"

    __hash__ = str.__hash__  # series are keys everywhere, and an enumeration's own hash is a call of Python

    @property
    def length(self) -> timedelta:
        """How long one bar of this timeframe is."""
        return _LENGTHS[self]


_LENGTHS: Final = {
    Timeframe.M1: timedelta(minutes=1),
    Timeframe.M5: timedelta(minutes=5),
    Timeframe.M15: timedelta(minutes=15),
    Timeframe.M30: timedelta(minutes=30),
    Timeframe.H1: timedelta(hours=1),
    Timeframe.H4: timedelta(hours=4),
    Timeframe.D1: timedelta(days=1),
    Timeframe.W1: timedelta(weeks=1),
}


class Series(NamedTuple):  # whose hash, unlike a dataclass's, is no call of Python
    """What bars belong to: one symbol at one timeframe."""

    symbol: str
    timeframe: Timeframe

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe}"


def to_nanoseconds(instant: datetime) -> int:
    """Return nanoseconds since 1970-01-01T00:00Z of an aware instant, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


@lru_cache(maxsize=4096)
def to_instant(nanoseconds: int) -> datetime:
    """Return the aware UTC instant of nanoseconds since 1970, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=int(nanoseconds) // 1000)


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """An immutable run of bars, oldest first.

    Shape: six arrays of one length n.
    Units: prices in the quote currency, volume in base units or shares; NaN where a value is missing.
    Time:  ``open_time`` is nanoseconds since 1970 UTC, strictly increasing.
    """

    open_time: TimeArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    _ranges: dict[str, tuple[float, float]] = field(init=False, repr=False, default_factory=dict)

    @classmethod
    def from_rows(cls, rows: list[tuple[datetime, float, float, float, float, float]]) -> Bars:
        """Build bars from (open time, open, high, low, close, volume) in any order.

        Equal times are one bar, the last one given; None and infinite values become NaN.
        """
        unique = {to_nanoseconds(row[0]): row for row in rows}
        times = np.array(sorted(unique), dtype=np.int64)
        values = np.array([unique[int(t)][1:] for t in times], dtype=np.float64).reshape(len(times), 5)
        return cls.from_columns(times, values)

    @classmethod
    def from_columns(cls, open_time: TimeArray, values: FloatArray) -> Bars:
        """Build bars from increasing open times (n,) and values (n, 5) in the order of ``COLUMNS``."""
        clean = np.where(np.isfinite(values), values, np.nan)
        columns = [np.ascontiguousarray(clean[:, i]) for i in range(5)]
        for array in (open_time, *columns):
            array.setflags(write=False)
        return cls(open_time, *columns)

    @classmethod
    def empty(cls) -> Bars:
        """Return a run of no bars."""
        return cls.from_columns(np.empty(0, np.int64), np.empty((0, 5), np.float64))

    def __len__(self) -> int:
        return len(self.open_time)

    def column(self, name: str) -> FloatArray:
        """Return one of ``COLUMNS`` by name."""
        if name not in COLUMNS:
            raise KeyError(name)
        array: FloatArray = getattr(self, name)
        return array

    def row(self, index: int) -> dict[str, float]:
        """Return the prices and the volume of one bar by the names of ``COLUMNS``."""
        return {name: self.column(name).item(index) for name in COLUMNS}

    def range_of(self, name: str) -> tuple[float, float]:
        """Return the lowest and the highest value of a column; NaN if one is missing, or if there are none.

        Looked for once: whoever computes on the bars must know whether some are missing, each time anew.
        """
        found = self._ranges.get(name)
        if found is None:
            column = self.column(name)
            found = (nan, nan)
            if len(column):
                found = float(np.minimum.reduce(column)), float(np.maximum.reduce(column))
            self._ranges[name] = found
        return found

    def __getitem__(self, part: slice) -> Bars:
        return Bars(
            self.open_time[part],
            self.open[part],
            self.high[part],
            self.low[part],
            self.close[part],
            self.volume[part],
        )

    def last(self, count: int) -> Bars:
        """Return the newest ``count`` bars, or all if there are fewer."""
        return self[max(0, len(self) - count) :]

    def closed_at(self, now: datetime, timeframe: Timeframe) -> Bars:
        """Return the bars that are closed at ``now``: those with open time + timeframe <= now."""
        newest_open = to_nanoseconds(now - timeframe.length)
        return self[: int(np.searchsorted(self.open_time, newest_open, side="right"))]

    def since(self, instant: datetime | None) -> Bars:
        """Return the bars that open at an instant or later; all of them without one."""
        if instant is None:
            return self
        return self[int(np.searchsorted(self.open_time, to_nanoseconds(instant), side="left")) :]

    def before(self, instant: datetime) -> Bars:
        """Return the bars that open before an instant."""
        return self[: int(np.searchsorted(self.open_time, to_nanoseconds(instant), side="left"))]

    def followed_by(self, newer: Bars) -> Bars:
        """Return these bars and newer ones; where both have a bar, the newer one counts."""
        return Bars.in_a_row([self, newer])

    @classmethod
    def in_a_row(cls, runs: Sequence[Bars]) -> Bars:
        """Return runs, each newer than the one before it, as one; where two have a bar, the newer's counts."""
        kept: list[Bars] = []
        for run in reversed(runs):
            rest = run.before(kept[-1].time_at(0)) if kept and len(run) else run
            if len(rest):
                kept.append(rest)
        if len(kept) < 2:
            return kept[0] if kept else cls.empty()
        times = np.concatenate([one.open_time for one in reversed(kept)])
        columns = [np.concatenate([one.column(name) for one in reversed(kept)]) for name in COLUMNS]
        return cls.from_columns(times, np.column_stack(columns))

    def are_newest_of(self, others: Bars) -> bool:
        """Tell whether these are the newest of other bars, to the last bit; missing values count as equal."""
        begin = len(others) - len(self)
        if not len(self) or begin < 0 or self.open_time[-1] != others.open_time[-1]:
            return False
        pairs = [(self.open_time, others.open_time), *((self.column(n), others.column(n)) for n in COLUMNS)]
        return all(mine.tobytes() == theirs[begin:].tobytes() for mine, theirs in pairs)

    def joined_with(self, other: Bars) -> Bars:
        """Return the bars of both; where both have a bar, the other's counts."""
        if not len(self) or not len(other) or other.open_time[0] >= self.open_time[-1]:
            return self.followed_by(other)
        kept = self.where(~np.isin(self.open_time, other.open_time))
        times = np.concatenate([kept.open_time, other.open_time])
        order = np.argsort(times)
        columns = [np.concatenate([kept.column(name), other.column(name)])[order] for name in COLUMNS]
        return Bars.from_columns(times[order], np.column_stack(columns))

    def where(self, chosen: npt.NDArray[np.bool_] | TimeArray) -> Bars:
        """Return those bars for which a mask, one value a bar, is True, or those at places in order."""
        return Bars(self.open_time[chosen], *(self.column(name)[chosen] for name in COLUMNS))

    def first_after(self, instant: datetime) -> int:
        """Return the index of the first bar that opens after ``instant``; ``len(self)`` if there is none."""
        return int(np.searchsorted(self.open_time, to_nanoseconds(instant), side="right"))

    def time_at(self, index: int) -> datetime:
        """Return the open time of one bar as an aware UTC instant."""
        return to_instant(int(self.open_time[index]))
