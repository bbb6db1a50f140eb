"""Which stretch of time Yahoo is asked for, and up to when its answer can be relied on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from atf.market.bars import Timeframe, to_instant, to_nanoseconds
from atf.market.resampling import opening_times
from atf.market.symbols import is_fiat_pair, is_pair

_DAY: Final = timedelta(days=1)
_OLDEST: Final = datetime(1927, 1, 1, tzinfo=UTC)
# Yahoo refuses what begins earlier, seen from its present; a day less, as its present is not ours.
_REACHES_BACK: Final = {
    Timeframe.M1: 29 * _DAY,
    Timeframe.M5: 59 * _DAY,
    Timeframe.M15: 59 * _DAY,
    Timeframe.M30: 59 * _DAY,
    Timeframe.H1: 729 * _DAY,
}
_LONGEST_ANSWER: Final = {Timeframe.M1: 7 * _DAY}
_DELAY: Final = timedelta(minutes=20)
"""No exchange's quotes reach Yahoo later."""
_SHORTEST_SESSION: Final = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """What an answer says about time: when it was given, and up to when it knows the market."""

    answered_at: datetime | None = None
    traded_at: datetime | None = None
    session_ends_at: datetime | None = None
    first_trade_at: datetime | None = None

    def reliable_until(self, until: datetime) -> datetime:
        """Return the instant at which a bar must be closed to be used, at most ``until``.

        Yahoo's own clock counts, and the newest trade that it knows of, unless that trade ended the session.
        Where nobody trades it stays old, so that it is not waited for longer than quotes are delayed.
        """
        now = until if self.answered_at is None else min(until, self.answered_at)
        if self.traded_at is None or (
            self.session_ends_at is not None and self.traded_at >= self.session_ends_at
        ):
            return now
        return min(now, max(self.traded_at, now - _DELAY))


def source_of(symbol: str, timeframe: Timeframe) -> Timeframe:
    """Return the timeframe that is asked for and resampled, where Yahoo's own bars are not cut as ours are.

    Yahoo's hours of a stock begin with its session, at 09:30; half hours lie on the clock everywhere. Weeks come
    from days, as Yahoo's begin on any weekday.
    """
    if timeframe is Timeframe.W1:
        return Timeframe.D1
    if timeframe in {Timeframe.H1, Timeframe.H4}:
        return Timeframe.H1 if is_pair(symbol) else Timeframe.M30
    return timeframe


def earliest(source: Timeframe, until: datetime, now: datetime) -> datetime:
    """Return the oldest instant that an answer about bars up to ``until`` may begin at."""
    begin = now - _REACHES_BACK[source] if source in _REACHES_BACK else _OLDEST
    return max(begin, until - _LONGEST_ANSWER.get(source, until - _OLDEST))


def likely_span(symbol: str, timeframe: Timeframe, count: int) -> timedelta:
    """Return in how much time so many bars lie, weekends and a few holidays included."""
    if is_pair(symbol) and not is_fiat_pair(symbol):
        return (count + 1) * timeframe.length + _DAY
    if timeframe.length >= _DAY:
        return count * timeframe.length * 3 / 2 + 10 * _DAY
    trading = timedelta(hours=22) if is_pair(symbol) else _SHORTEST_SESSION
    return -(-(count * timeframe.length) // trading) * _DAY * 3 / 2 + 5 * _DAY


def opening(instant: datetime, timeframe: Timeframe) -> datetime:
    """Return when the bar opens that holds an instant."""
    nanoseconds = np.array([to_nanoseconds(instant)], dtype=np.int64)
    return to_instant(int(opening_times(nanoseconds, timeframe)[0]))
