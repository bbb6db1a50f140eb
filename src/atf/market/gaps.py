"""Bars that a market must have made and that are not there. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from atf.market.bars import Bars, TimeArray, Timeframe, to_instant
from atf.market.symbols import ALWAYS_OPEN
from atf.market.trading_calendar import TradingCalendar
from atf.market.trading_time import expected_opens

_PIECE: Final = 200_000
"""So many expected bars are looked at together: some megabytes."""
_LONGEST_PIECE: Final = timedelta(days=3653)
"""A calendar's sessions are objects, of which daily bars need as many as there are bars."""
_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Gap:
    """Expected bars that are missing, one after the other: when the first and the last of them open."""

    first: datetime
    last: datetime
    missing: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many bars were expected and are missing; the gaps, oldest first, may be cut, the counts are exact."""

    expected: int
    missing: int
    gap_count: int
    gaps: tuple[Gap, ...]


def coverage(
    bars: Bars,
    timeframe: Timeframe,
    calendar: TradingCalendar,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    most_gaps: int | None = None,
) -> Coverage:
    """Return what is missing of the bars that open at ``since`` or later and are closed at ``until``.

    Without these from the first bar on and up to the last one. A gap spans the nights and weekends in it.
    However long that is, no more than a piece of it is in memory at a time.
    """
    if not len(bars) and (since is None or until is None):
        return Coverage(0, 0, 0, ())
    since = since or bars.time_at(0)
    until = until or bars.time_at(len(bars) - 1) + timeframe.length
    found = _Found(most_gaps)
    for expected in _expected_in_pieces(timeframe, calendar, since, until):
        found.add(expected, ~_contains(bars.open_time, expected))
    return found.coverage()


def expected_between(
    timeframe: Timeframe, calendar: TradingCalendar, since: datetime, until: datetime
) -> TimeArray:
    """Return when the bars open that should exist from ``since`` on and be closed at ``until``."""
    if calendar.name == ALWAYS_OPEN:
        return expected_opens(timeframe, since, until, None)
    # A session may begin on the day before its date, and a week's bar opens days before its sessions.
    around = timedelta(days=7 if timeframe is Timeframe.W1 else 1)
    sessions = calendar.sessions_between((since - around).date(), (until + around).date())
    return expected_opens(timeframe, since, until, sessions)


def _expected_in_pieces(
    timeframe: Timeframe, calendar: TradingCalendar, since: datetime, until: datetime
) -> Iterator[TimeArray]:
    """Yield what ``expected_between`` returns, oldest first, in pieces that may be empty."""
    step = min(_PIECE * timeframe.length, _LONGEST_PIECE)
    last = until - timeframe.length
    while since <= last:
        newest = last if last - since < step else since + step - _INSTANT
        yield expected_between(timeframe, calendar, since, newest + timeframe.length)
        since = newest + _INSTANT


class _Found:
    """What was found out of pieces of time, oldest first; a gap may go on from one to the next."""

    def __init__(self, most_gaps: int | None) -> None:
        self._most = most_gaps
        self._expected = self._missing = self._gap_count = 0
        self._gaps: list[Gap] = []
        self._ends_in_gap = False

    def add(self, expected: TimeArray, is_missing: npt.NDArray[np.bool_]) -> None:
        """Take note of the next expected bars, and which of them are missing."""
        if not len(expected):
            return
        begins, ends = _runs(is_missing)
        if self._ends_in_gap and is_missing[0]:
            self._go_on(_gap(expected, 0, int(ends[0])))
            begins, ends = begins[1:], ends[1:]
        listed = slice(0, None if self._most is None else max(0, self._most - len(self._gaps)))
        runs = zip(begins[listed].tolist(), ends[listed].tolist(), strict=True)
        self._gaps += [_gap(expected, begin, end) for begin, end in runs]
        self._expected += len(expected)
        self._missing += int(is_missing.sum())
        self._gap_count += len(begins)
        self._ends_in_gap = bool(is_missing[-1])

    def coverage(self) -> Coverage:
        """Return it all."""
        return Coverage(self._expected, self._missing, self._gap_count, tuple(self._gaps))

    def _go_on(self, more: Gap) -> None:
        """Make the newest gap longer, if it is listed."""
        if len(self._gaps) == self._gap_count:
            newest = self._gaps.pop()
            self._gaps.append(Gap(newest.first, more.last, newest.missing + more.missing))


def _contains(times: TimeArray, wanted: TimeArray) -> npt.NDArray[np.bool_]:
    """Return which of the wanted times are among the times, which increase."""
    if not len(times):
        return np.zeros(len(wanted), dtype=np.bool_)
    places = np.searchsorted(times, wanted)
    found: npt.NDArray[np.bool_] = times[np.minimum(places, len(times) - 1)] == wanted
    return found


def _runs(mask: npt.NDArray[np.bool_]) -> tuple[TimeArray, TimeArray]:
    """Return where runs of True begin and the indices after their ends."""
    edges = np.diff(mask.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _gap(expected: TimeArray, begin: int, end: int) -> Gap:
    return Gap(to_instant(int(expected[begin])), to_instant(int(expected[end - 1])), end - begin)
