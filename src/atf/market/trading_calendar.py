"""Trading calendars as market data need them: sessions with their opening and closing times. Pure.

Where calendars come from is an adapter's business (``adapters/calendars``); which one a symbol has, that of
``market/symbols``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Session:
    """One day of trading: aware UTC instants; ``closes_at`` is earlier than usual on a half day.

    ``pause`` is a break in which nothing is traded, such as lunch in Tokyo.
    """

    day: date
    opens_at: datetime
    closes_at: datetime
    pause: tuple[datetime, datetime] | None = None


class TradingCalendar(Protocol):
    """The sessions of one market; of a market that never closes each UTC day is a session of 24 hours."""

    def __hash__(self) -> int:
        """What is worked out of its sessions is kept by calendar."""
        ...

    @property
    def name(self) -> str:
        """As settings and schedules spell it, such as XNYS or 24/7."""
        ...

    @property
    def zone(self) -> ZoneInfo:
        """The exchange's own zone, whose dates its sessions have."""
        ...

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        """Return the sessions of these days, both included, oldest first.

        Outside of the days that it knows, weekdays count as sessions of the usual hours.
        """
        ...


class TradingCalendars(Protocol):
    """All calendars that there are."""

    async def trading_calendar(self, name: str) -> TradingCalendar:
        """Return a calendar. Errors: InvalidInput with ``field`` "calendar" if there is none of this name."""
        ...
