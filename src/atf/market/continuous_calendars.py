"""Calendars of markets that know no holidays: coins, which trade always, and currencies, which rest on weekends.

Pure: no library is needed for them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from atf.market.symbols import ALWAYS_OPEN, WEEKDAYS
from atf.market.trading_calendar import Session

_ONE_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5
_NEW_YORK: Final = ZoneInfo("America/New_York")
_TURN: Final = time(17)
"""When a currencies' day ends and the next one begins, in New York."""


class RoundTheClock:
    """A market that never closes: each UTC day is a session of 24 hours."""

    name = ALWAYS_OPEN
    zone = ZoneInfo("UTC")

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        """Return a session for each of these days, both included."""
        return tuple(_whole_day(first + n * _ONE_DAY) for n in range((last - first).days + 1))


class CurrencyWeek:
    """The market of currencies: from Sunday to Friday, 17:00 in New York, when each of its days turns.

    Its sessions are those of Monday to Friday; Monday's begins on Sunday. It has no holidays, as each bank has
    its own.
    """

    name = WEEKDAYS
    zone = ZoneInfo("UTC")

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        """Return a session for each weekday among these days, both included."""
        days = (first + n * _ONE_DAY for n in range((last - first).days + 1))
        return tuple(_currency_day(day) for day in days if day.weekday() < _SATURDAY)


@lru_cache(maxsize=4096)
def _whole_day(day: date) -> Session:
    begins = datetime.combine(day, time(), UTC)
    return Session(day, begins, begins + _ONE_DAY)


@lru_cache(maxsize=4096)
def _currency_day(day: date) -> Session:
    turns = [datetime.combine(each, _TURN, _NEW_YORK).astimezone(UTC) for each in (day - _ONE_DAY, day)]
    return Session(day, turns[0], turns[1])
