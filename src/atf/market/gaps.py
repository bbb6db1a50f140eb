"""Bars that a market must have made and that are not there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from atf.market.bars import Bars, TimeArray, Timeframe, to_instant
from atf.market.symbols import ALWAYS_OPEN
from atf.market.trading_calendar import TradingCalendar
from atf.market.trading_time import expected_opens


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
    """
    if not len(bars) and (since is None or until is None):
        return Coverage(0, 0, 0, ())
    since = since or bars.time_at(0)
    until = until or bars.time_at(len(bars) - 1) + timeframe.length
    expected = expected_between(timeframe, calendar, since, until)
    is_missing = ~_contains(bars.open_time, expected)
    begins, ends = _runs(is_missing)
    shown = slice(0, most_gaps)
    gaps = zip(begins[shown], ends[shown], strict=True)
    return Coverage(
        len(expected),
        int(is_missing.sum()),
        len(begins),
        tuple(_gap(expected, int(begin), int(end)) for begin, end in gaps),
    )


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
