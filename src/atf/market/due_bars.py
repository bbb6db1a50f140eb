"""DueBars: which bar of a series is the newest that should be there, by its market's calendar."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from atf.market.bars import Series, Timeframe
from atf.market.closing import Closing
from atf.market.patterns import NO_PATTERNS, Patterns
from atf.market.symbols import calendar_name
from atf.market.trading_calendar import TradingCalendar, TradingCalendars
from atf.market.trading_time import newest_expected


class DueBars:
    """Knows the calendar of each symbol and asks it; calendars are loaded once, when first needed."""

    def __init__(self, calendars: TradingCalendars, overrides: Patterns = NO_PATTERNS) -> None:
        self._calendars = calendars
        self._overrides = overrides
        self._names: dict[str, str] = {}

    def calendar_name(self, symbol: str) -> str:
        """Return the name of a symbol's calendar."""
        found = self._names.get(symbol)
        if found is None:
            found = self._names[symbol] = calendar_name(symbol, self._overrides)
        return found

    async def calendar_of(self, symbol: str) -> TradingCalendar:
        """Return a symbol's calendar. Errors: InvalidInput if the settings name one that there is not."""
        return await self.calendar_named(self.calendar_name(symbol))

    async def calendar_named(self, name: str) -> TradingCalendar:
        """Return a calendar by its own name. Errors: InvalidInput if there is none of it."""
        return await self._calendars.trading_calendar(name)

    async def closing(self, timeframe: Timeframe, calendar: str | None) -> Closing:
        """Return when bars close that end with the sessions of a calendar, by the clock without one.

        Errors: InvalidInput with ``field`` "calendar" if there is none of this name.
        """
        if calendar is None:
            return Closing(timeframe)
        return Closing(timeframe, await self._calendars.trading_calendar(calendar))

    async def newest_of(self, wanted: Iterable[Series], until: datetime) -> dict[Series, datetime]:
        """Return when the newest bar opens that should be closed by the clock at ``until``, for each series."""
        known: dict[tuple[Timeframe, str], datetime] = {}
        dues: dict[Series, datetime] = {}
        for series in wanted:
            key = series.timeframe, self.calendar_name(series.symbol)
            due = known.get(key)
            if due is None:
                calendar = await self._calendars.trading_calendar(key[1])
                due = known[key] = newest_expected(series.timeframe, until, calendar)
            dues[series] = due
        return dues
