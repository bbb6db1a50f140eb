"""Which bars a market makes and when: expected opening times, the newest one, closing times, staleness. Pure.

A bar is expected where its market trades at any moment of it. For stores and providers it closes at open time +
timeframe in every market, and the calendar decides only which bars there are; see ``market/closing`` for alerts
that follow a calendar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

import numpy as np

from atf.market.bars import TimeArray, Timeframe, to_instant, to_nanoseconds
from atf.market.resampling import opening_times
from atf.market.symbols import ALWAYS_OPEN
from atf.market.trading_calendar import Session, TradingCalendar

STALE_AFTER: Final = 3
"""So many timeframes of trading time without a new bar are still usual."""

_ONE_DAY: Final = timedelta(days=1)
_ONE_WEEK: Final = timedelta(weeks=1)
_LOOK_BACK: Final = timedelta(days=10)
"""Longer than the holidays of any market, so that one look is nearly always enough."""
_LONGEST_REST: Final = timedelta(days=200)
"""Longer than any market was ever closed (New York in 1914: four months)."""
_MONDAY: Final = 4 * 86_400 * 10**9
"""1970-01-05, where weeks begin."""
_LENGTHS: Final = {each: each.length // timedelta(microseconds=1) * 1000 for each in Timeframe}


def expected_opens(
    timeframe: Timeframe, since: datetime, until: datetime, sessions: Sequence[Session] | None
) -> TimeArray:
    """Return when the bars open that should exist from ``since`` on and be closed at ``until``.

    Intraday bars lie on multiples of their length since 1970 and are expected where they share any time with a
    session; daily ones open at 00:00Z of the session's date, weekly ones on Mondays of weeks with a session.
    ``sessions`` are those of the span and may be more; None is a market that never closes.

    Units: nanoseconds since 1970, increasing.
    """
    first, end = to_nanoseconds(since), to_nanoseconds(until) - _LENGTHS[timeframe]
    if sessions is None:
        begin = _aligned(first + _LENGTHS[timeframe] - 1, timeframe)
        # Counted exactly: NumPy counts by a quotient of doubles, which loses the last of half a year of minutes.
        count = max(0, (end - begin) // _LENGTHS[timeframe] + 1)
        return begin + np.arange(count, dtype=np.int64) * _LENGTHS[timeframe]
    if timeframe in (Timeframe.D1, Timeframe.W1):
        days = np.array([_day_begins(session.day) for session in sessions], dtype=np.int64)
        opens = np.unique(opening_times(days, timeframe))
    else:
        opens = _intraday(timeframe, sessions)
    return opens[np.searchsorted(opens, first) : np.searchsorted(opens, end, side="right")]


def newest_expected(timeframe: Timeframe, now: datetime, calendar: TradingCalendar | None) -> datetime:
    """Return when the newest bar opens that should exist and be closed at ``now``.

    No calendar is a market that never closes.
    """
    limit = _aligned(to_nanoseconds(now) - _LENGTHS[timeframe], timeframe)
    market = _that_closes(calendar)
    if market is None:
        return to_instant(limit)
    last = to_instant(limit).date() + (_ONE_WEEK - _ONE_DAY if timeframe is Timeframe.W1 else _ONE_DAY)
    for session in _backwards(market, last):
        found = _newest_of(session, timeframe, limit)
        if found is not None:
            return to_instant(found)
    return to_instant(limit)


def closes_at(open_time: datetime, timeframe: Timeframe, calendar: TradingCalendar | None) -> datetime:
    """Return when a bar's trading ends: a daily one's with its session, a weekly one's with the week's last.

    This is what people are shown; whether a bar may be used is ``Bars.closed_at``.
    """
    usual = open_time + timeframe.length
    if calendar is None or timeframe not in (Timeframe.D1, Timeframe.W1):
        return usual
    sessions = calendar.sessions_between(open_time.date(), usual.date() - _ONE_DAY)
    return sessions[-1].closes_at if sessions else usual


def is_stale(
    newest_open: datetime, timeframe: Timeframe, now: datetime, calendar: TradingCalendar | None
) -> bool:
    """Whether more than three timeframes of trading time have passed without a bar after the newest one.

    Source: alert_semantics section 4. The nights, weekends, holidays and half days of a market do not count.
    """
    if now - newest_open <= (STALE_AFTER + 1) * timeframe.length:
        return False
    market = _that_closes(calendar)
    if market is None:
        return True
    newest, instant = to_nanoseconds(newest_open), to_nanoseconds(now)
    begun = 0
    for session in _forwards(market, newest_open.date(), now.date() + _ONE_DAY):
        count, newest = _begun_in(session, timeframe, newest, instant)
        begun += count
        if begun > STALE_AFTER:
            return True
        if session.opens_at >= now:
            return False
    return False


def _intraday(timeframe: Timeframe, sessions: Sequence[Session]) -> TimeArray:
    """Return the open times of all bars that share time with a session."""
    stretches = np.array([each for one in sessions for each in _stretches(one)], dtype=np.int64).reshape(-1, 2)
    length = _LENGTHS[timeframe]
    first = opening_times(stretches[:, 0], timeframe)
    counts = (opening_times(stretches[:, 1] - 1, timeframe) - first) // length + 1
    positions = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    opens: TimeArray = np.repeat(first, counts) + positions * length
    # Two sessions, or the two halves of one, may share a bar.
    return np.unique(opens)


def _newest_of(session: Session, timeframe: Timeframe, limit: int) -> int | None:
    """Return the newest bar of a session that opens at the limit or before; None if all are later."""
    if timeframe in (Timeframe.D1, Timeframe.W1):
        opens = _aligned(_day_begins(session.day), timeframe)
        return opens if opens <= limit else None
    for begin, end in reversed(_stretches(session)):
        if _aligned(begin, timeframe) <= limit:
            return min(limit, _aligned(end - 1, timeframe))
    return None


def _begun_in(session: Session, timeframe: Timeframe, newest: int, now: int) -> tuple[int, int]:
    """Return how many bars after the newest one have begun in a session by now, and the last of these."""
    count = 0
    for begin, end in _stretches(session):
        if begin >= now:
            break
        if timeframe in (Timeframe.D1, Timeframe.W1):
            first = last = _aligned(_day_begins(session.day), timeframe)
        else:
            first = _aligned(begin, timeframe)
            last = _aligned(min(end, now) - 1, timeframe)
        if last > newest:
            count += (last - max(first, newest + _LENGTHS[timeframe])) // _LENGTHS[timeframe] + 1
            newest = last
    return count, newest


def _that_closes(calendar: TradingCalendar | None) -> TradingCalendar | None:
    return None if calendar is None or calendar.name == ALWAYS_OPEN else calendar


def _backwards(calendar: TradingCalendar, last: date) -> Iterator[Session]:
    """Yield the sessions up to a day, newest first."""
    for looks in range(_LONGEST_REST // _LOOK_BACK):
        end = last - looks * _LOOK_BACK
        yield from reversed(calendar.sessions_between(end - _LOOK_BACK + _ONE_DAY, end))


def _forwards(calendar: TradingCalendar, first: date, last: date) -> Iterator[Session]:
    """Yield the sessions from a day to another, oldest first."""
    while first <= last:
        end = min(last, first + _LOOK_BACK)
        yield from calendar.sessions_between(first, end)
        first = end + _ONE_DAY


@lru_cache(maxsize=4096)
def _stretches(session: Session) -> tuple[tuple[int, int], ...]:
    """Return when a session trades: from its opening to its close, less its pause, in nanoseconds."""
    opens, closes = to_nanoseconds(session.opens_at), to_nanoseconds(session.closes_at)
    if session.pause is None:
        return ((opens, closes),)
    begins, ends = (to_nanoseconds(instant) for instant in session.pause)
    return (opens, begins), (ends, closes)


@lru_cache(maxsize=4096)
def _day_begins(day: date) -> int:
    return to_nanoseconds(datetime.combine(day, time(), UTC))


def _aligned(nanoseconds: int, timeframe: Timeframe) -> int:
    """Return when the bar opens that holds an instant."""
    length = _LENGTHS[timeframe]
    origin = _MONDAY if timeframe is Timeframe.W1 else 0
    return (nanoseconds - origin) // length * length + origin
