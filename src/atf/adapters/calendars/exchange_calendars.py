"""Trading calendars of the library exchange-calendars.

The library brings pandas, which takes a second or two to load: it is imported when the first calendar of an
exchange is asked for, in a thread, and by processes that never need one not at all.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from typing import Any, Final
from zoneinfo import ZoneInfo

from atf.errors import InvalidInput, shown
from atf.market.bars import to_instant
from atf.market.continuous_calendars import CurrencyWeek, RoundTheClock
from atf.market.trading_calendar import Session, TradingCalendar
from atf.schedules.calendars import SessionCalendar, is_weekday

_FRESH: Final = timedelta(days=7)
"""How long a loaded calendar is used: the library knows about a year ahead of the day on which it is asked."""
_BEGIN: Final = "1990-01-01"
"""How far back sessions are wanted; the library by itself goes back twenty years only."""
_ONE_DAY: Final = timedelta(days=1)
_NO_TIME: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class UsualHours:
    """When sessions open and close by their exchange's clocks: days from the session's date, and the time."""

    opens: tuple[timedelta, time]
    closes: tuple[timedelta, time]

    @classmethod
    def of(cls, session: Session, zone: ZoneInfo) -> UsualHours:
        """Return the hours of one session."""
        opens, closes = (_from_date(at, session.day, zone) for at in (session.opens_at, session.closes_at))
        return cls(opens, closes)

    def session(self, day: date, zone: ZoneInfo) -> Session:
        """Return a session of these hours."""
        opens, closes = (
            datetime.combine(day + days, at, zone).astimezone(UTC) for days, at in (self.opens, self.closes)
        )
        return Session(day, opens, closes)


# Compared and hashed by identity: its thousands of sessions are what it is made of, not what it is.
@dataclass(frozen=True, slots=True, eq=False)
class ExchangeCalendar:
    """The sessions of one exchange, since 1990 or its library's beginning, to about a year ahead.

    Outside of these weekdays count as sessions of the usual hours. Serves schedules (``SessionCalendar``) and
    market data (``TradingCalendar``).
    """

    name: str
    zone: ZoneInfo
    days: tuple[date, ...] = field(repr=False)
    sessions: tuple[Session, ...] = field(repr=False)
    usual: UsualHours

    def is_session(self, day: date) -> bool:
        """Whether the exchange trades on this day."""
        if not self.days[0] <= day <= self.days[-1]:
            return is_weekday(day)
        return self.days[bisect_left(self.days, day)] == day

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        """Return the sessions of these days, both included, oldest first."""
        known = self.sessions[bisect_left(self.days, first) : bisect_right(self.days, last)]
        if first >= self.days[0] and last <= self.days[-1]:
            return known
        before = self._guessed(first, min(last, self.days[0] - _ONE_DAY))
        after = self._guessed(max(first, self.days[-1] + _ONE_DAY), last)
        return (*before, *known, *after)

    def _guessed(self, first: date, last: date) -> Iterator[Session]:
        days = (first + n * _ONE_DAY for n in range((last - first).days + 1))
        return (self.usual.session(day, self.zone) for day in days if is_weekday(day))


class ExchangeCalendars:
    """All calendars of the library, by its names such as XNYS, XLON or 24/7."""

    def __init__(self) -> None:
        self._loaded: dict[str, tuple[datetime, ExchangeCalendar]] = {}
        self._continuous: dict[str, TradingCalendar] = {
            one.name: one for one in (RoundTheClock(), CurrencyWeek())
        }
        self._loading = asyncio.Lock()

    async def load(self, name: str) -> SessionCalendar:
        """Return the days of a calendar; it is kept for some days.

        Errors: InvalidInput with ``field`` "calendar" if there is none of this name.
        """
        return await self._exchange(name)

    async def trading_calendar(self, name: str) -> TradingCalendar:
        """Return a calendar with its hours. Errors: as ``load``."""
        return self._continuous.get(name) or await self._exchange(name)

    async def check_calendar(self, name: str) -> None:
        """Refuse a name that is not known. Errors: as ``load``."""
        await self._exchange(name)

    async def _exchange(self, name: str) -> ExchangeCalendar:
        if not self._is_fresh(name):
            # One load at a time: a hundred series of one exchange ask for it at the same moment.
            async with self._loading:
                if not self._is_fresh(name):
                    loaded = await asyncio.to_thread(_load, name)
                    self._loaded[name] = (datetime.now(UTC), loaded)
        return self._loaded[name][1]

    def _is_fresh(self, name: str) -> bool:
        found = self._loaded.get(name)
        return found is not None and datetime.now(UTC) - found[0] <= _FRESH


def _load(name: str) -> ExchangeCalendar:
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if name not in names:
        near = get_close_matches(name.upper(), names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InvalidInput(
            f"{shown(name)} is not a trading calendar; name one by its exchange, such as XNYS or XLON{hint}",
            field="calendar",
        )
    found = _since_begin(exchange_calendars, name)
    zone = ZoneInfo(str(found.tz))
    sessions = tuple(_sessions(found))
    usual = _usual_hours(sessions, zone)
    return ExchangeCalendar(name, zone, tuple(session.day for session in sessions), sessions, usual)


def _since_begin(library: Any, name: str) -> Any:
    """Return the library's calendar from as early on as it is wanted, or as the library knows it."""
    try:
        return library.get_calendar(name, start=_BEGIN)
    except ValueError:
        bound = library.get_calendar(name).bound_min()
        return library.get_calendar(name, start=bound)


def _sessions(found: Any) -> Iterator[Session]:
    columns = (found.sessions_nanos, found.opens_nanos, found.closes_nanos)
    pauses = (found.break_starts_nanos, found.break_ends_nanos)
    for day, opens, closes, begins, ends in zip(*columns, *pauses, strict=True):
        pause = None if begins == _NO_TIME else (to_instant(begins), to_instant(ends))
        yield Session(to_instant(day).date(), to_instant(opens), to_instant(closes), pause)


def _usual_hours(sessions: tuple[Session, ...], zone: ZoneInfo) -> UsualHours:
    """Return the hours that most of the newest sessions have."""
    hours = [UsualHours.of(session, zone) for session in sessions[-60:]]
    return max(hours, key=hours.count)


def _from_date(instant: datetime, day: date, zone: ZoneInfo) -> tuple[timedelta, time]:
    local = instant.astimezone(zone)
    return local.date() - day, local.time()
