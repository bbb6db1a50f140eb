"""Trading calendars of the library exchange-calendars.

The library brings pandas, which takes a second or two to load: it is imported when the first calendar is asked
for, in a thread, and by processes that never need a calendar not at all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import Final
from zoneinfo import ZoneInfo

from atf.errors import InvalidInput, shown
from atf.schedules.calendars import SessionCalendar, is_weekday

_FRESH: Final = timedelta(days=7)
"""How long a loaded calendar is used: the library knows about a year ahead of the day on which it is asked."""


@dataclass(frozen=True, slots=True)
class ExchangeCalendar:
    """The sessions of one exchange, from twenty years ago to about a year ahead; weekdays outside of these."""

    name: str
    zone: ZoneInfo
    first: date
    last: date
    sessions: frozenset[date] = field(repr=False)

    def is_session(self, day: date) -> bool:
        """Whether the exchange trades on this day."""
        return day in self.sessions if self.first <= day <= self.last else is_weekday(day)


class ExchangeCalendars:
    """All calendars of the library, by its names such as XNYS, XLON or 24/7."""

    def __init__(self) -> None:
        self._loaded: dict[str, tuple[datetime, ExchangeCalendar]] = {}

    async def load(self, name: str) -> SessionCalendar:
        """Return a calendar; it is kept for some days.

        Errors: InvalidInput with ``field`` "calendar" if there is none of this name.
        """
        now = datetime.now(UTC)
        if name not in self._loaded or now - self._loaded[name][0] > _FRESH:
            self._loaded[name] = (now, await asyncio.to_thread(_load, name))
        return self._loaded[name][1]

    async def check_calendar(self, name: str) -> None:
        """Refuse a name that is not known. Errors: as ``load``."""
        await self.load(name)


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
    found = exchange_calendars.get_calendar(name)
    days = frozenset(session.date() for session in found.sessions)
    return ExchangeCalendar(name, ZoneInfo(str(found.tz)), min(days), max(days), days)
