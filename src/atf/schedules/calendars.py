"""Trading calendars: the days on which a schedule that names one may fire. Pure, apart from the Protocol.

Where calendars come from is an adapter's business (``adapters/calendars``).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

_ONE_DAY: Final = timedelta(days=1)
_FIRST_WEEKEND_DAY: Final = 5


class SessionCalendar(Protocol):
    """The sessions of one exchange."""

    @property
    def name(self) -> str:
        """As schedules spell it, such as XNYS."""
        ...

    @property
    def zone(self) -> ZoneInfo:
        """The exchange's own zone, whose dates its sessions have."""
        ...

    def is_session(self, day: date) -> bool:
        """Whether the exchange trades on this day; outside the days that it knows every weekday counts."""
        ...


class CalendarSource(Protocol):
    """All calendars that there are."""

    async def load(self, name: str) -> SessionCalendar:
        """Return a calendar. Errors: InvalidInput with ``field`` "calendar" if there is none of this name."""
        ...


def is_weekday(day: date) -> bool:
    """Whether a day is one from Monday to Friday: what counts as a session where no calendar tells."""
    return day.weekday() < _FIRST_WEEKEND_DAY


def opens_at(calendar: SessionCalendar, instant: datetime, *, until: datetime) -> datetime | None:
    """Return when the first session day at or after an instant begins: the instant itself inside of one.

    None if there is no session day that begins before ``until``.
    """
    day = instant.astimezone(calendar.zone).date()
    if calendar.is_session(day):
        return instant
    while True:
        day += _ONE_DAY
        begins = _begin(calendar, day)
        if begins >= until:
            return None
        if calendar.is_session(day):
            return begins


def open_stretches(
    calendar: SessionCalendar, begin: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the parts of [begin, end) that lie on session days; days that touch are one part."""
    while begin < end:
        opens = opens_at(calendar, begin, until=end)
        if opens is None:
            return
        day = opens.astimezone(calendar.zone).date() + _ONE_DAY
        while calendar.is_session(day) and _begin(calendar, day) < end:
            day += _ONE_DAY
        begin = min(_begin(calendar, day), end)
        yield opens, begin


def _begin(calendar: SessionCalendar, day: date) -> datetime:
    """The first instant of a local day; where midnight does not exist, that of the jump over it."""
    return datetime.combine(day, time(), calendar.zone).astimezone(UTC)
