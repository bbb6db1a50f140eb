"""The report on the bars of a series: what is there, what is missing, what looks wrong. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

import numpy as np

from atf.market import quality
from atf.market.bars import Bars, Series, TimeArray
from atf.market.gaps import Coverage, coverage
from atf.market.symbols import is_pair
from atf.market.trading_calendar import TradingCalendar
from atf.market.trading_time import is_stale, newest_expected

SHOWN: Final = 50
"""Of gaps, flaws and jumps so many are listed at most; their numbers are exact."""
_SPLITS: Final = ((2, 1), (3, 1), (4, 1), (5, 1), (7, 1), (8, 1), (10, 1), (20, 1), (3, 2))
_SPLIT_TOLERANCE: Final = 0.05
"""How far the ratio of two closes may be from a split's: prices move on that day, too (AAPL in 2020 by 3.4 %)."""
_NANOSECONDS_A_DAY: Final = 86_400 * 10**9
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


class Freshness(StrEnum):
    """Whether the newest bar is the one that should be there."""

    CURRENT = "current"
    BEHIND = "behind"
    STALE = "stale"
    EMPTY = "empty"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class Noted:
    """A bar that a person should look at, and why."""

    open_time: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Notes:
    """Bars that a person should look at, oldest first; the list may be cut, the count is exact."""

    count: int
    listed: tuple[Noted, ...]


@dataclass(frozen=True, slots=True)
class Newest:
    """Whether the newest bar is the one that should be there, and when that one opens."""

    freshness: Freshness
    expected: datetime


@dataclass(frozen=True, slots=True)
class DataReport:
    """The findings on one series.

    ``outside``: bars at times at which the market does not trade, such as those before the opening.
    """

    series: Series
    calendar: str
    count: int
    first: datetime | None
    last: datetime | None
    coverage: Coverage
    outside: int
    flaws: Notes
    jumps: Notes
    duplicates: int
    quarantined: int
    newest: Newest

    @property
    def finding_count(self) -> int:
        """How many things a person should look at; a series that is not stale is none of them."""
        wrong = self.coverage.gap_count + self.flaws.count + self.jumps.count + self.duplicates
        return wrong + self.quarantined + (self.newest.freshness in (Freshness.STALE, Freshness.EMPTY))


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What bars do not tell of themselves.

    ``since`` and ``until``: the part that was asked for; without ``until`` the newest bar should be there.
    ``known_splits``: days from which on adjustment factors change, so that a jump on them is no riddle.
    """

    since: datetime | None = None
    until: datetime | None = None
    duplicates: int = 0
    quarantined: int = 0
    known_splits: Collection[date] = ()


def report(
    series: Series,
    bars: Bars,
    calendar: TradingCalendar,
    now: datetime,
    circumstances: Circumstances = Circumstances(),
) -> DataReport:
    """Return what is there, missing and wrong of a series' bars, as of ``now``."""
    timeframe, around = series.timeframe, circumstances
    until = None if around.until is None else min(around.until, now)
    found = coverage(bars, timeframe, calendar, since=around.since, until=until, most_gaps=SHOWN)
    return DataReport(
        series,
        calendar.name,
        len(bars),
        bars.time_at(0) if len(bars) else None,
        bars.time_at(len(bars) - 1) if len(bars) else None,
        coverage=found,
        outside=len(bars) - (found.expected - found.missing),
        flaws=_flaws(bars, series),
        jumps=Notes(0, ()) if is_pair(series.symbol) else _jumps(bars, around.known_splits),
        duplicates=around.duplicates,
        quarantined=around.quarantined,
        newest=_newest(bars, series, calendar, now, is_asked=around.until is None),
    )


def _newest(bars: Bars, series: Series, calendar: TradingCalendar, now: datetime, *, is_asked: bool) -> Newest:
    due = newest_expected(series.timeframe, now, calendar)
    if not is_asked:
        return Newest(Freshness.NOT_ASKED, due)
    if not len(bars):
        return Newest(Freshness.EMPTY, due)
    newest = bars.time_at(len(bars) - 1)
    if is_stale(newest, series.timeframe, now, calendar):
        return Newest(Freshness.STALE, due)
    return Newest(Freshness.CURRENT if newest >= due else Freshness.BEHIND, due)


def _flaws(bars: Bars, series: Series) -> Notes:
    found = quality.findings(bars, series.timeframe)
    listed = (Noted(bars.time_at(one.index), str(one.flaw)) for one in found[:SHOWN])
    return Notes(len(found), tuple(listed))


def _jumps(bars: Bars, known_splits: Collection[date]) -> Notes:
    """Return where a close is about a split's multiple of the one before, and no factor says why."""
    known = np.flatnonzero(np.isfinite(bars.close) & (bars.close > 0))
    if len(known) < 2:
        return Notes(0, ())
    ratios = bars.close[known[1:]] / bars.close[known[:-1]]
    nearest = np.full(len(ratios), -1)
    for number, (new, old) in enumerate(_RATIOS):
        nearest[np.abs(ratios * new / old - 1) < _SPLIT_TOLERANCE] = number
    days = bars.open_time[known] // _NANOSECONDS_A_DAY
    jumps = np.flatnonzero((nearest >= 0) & ~_is_split(days, known_splits))
    listed = (
        Noted(bars.time_at(int(known[at + 1])), _jump_text(float(ratios[at]), *_RATIOS[nearest[at]]))
        for at in jumps[:SHOWN]
    )
    return Notes(len(jumps), tuple(listed))


_RATIOS: Final = (*_SPLITS, *((old, new) for new, old in _SPLITS))
"""New shares for old ones; where new are fewer, it is a reverse split."""


def _is_split(days: TimeArray, known_splits: Collection[date]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return for each bar but the first whether a split lies after the bar before and not after it."""
    splits = np.array(sorted(day.toordinal() - _EPOCH_DAY for day in known_splits), dtype=np.int64)
    passed = np.searchsorted(splits, days, side="right")
    is_split: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.diff(passed) > 0
    return is_split


def _jump_text(ratio: float, new: int, old: int) -> str:
    return f"close is {ratio:.3g} times the one before: looks like a split {new}:{old} without a factor"
