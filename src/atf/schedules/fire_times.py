"""When the schedules of a group are due: their cron expression, on the session days of their calendar. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from atf.errors import InvalidCron
from atf.schedules.calendars import SessionCalendar, open_stretches, opens_at
from atf.schedules.cron_parser import CronParser

_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)
# Longer than between two 29ths of February that are weekdays, even over the year 2100.
_LONGEST_SEARCH: Final = timedelta(days=41 * 366)
_ENOUGH: Final = 4
"""How many times as many instants as wanted may be enumerated; below that, a window is not made smaller."""


@dataclass(frozen=True, slots=True)
class FireTimes:
    """The instants of a cron expression in a zone, without those on a day that is no session of the calendar.

    A day is that of the exchange's zone, which need not be the expression's.
    """

    cron: str
    timezone: str
    calendar: SessionCalendar | None = None

    def next_after(self, instant: datetime) -> datetime:
        """Return the first one strictly after an instant.

        Errors: InvalidCron, also if there is none in forty years of the calendar.
        """
        run = CronParser.calculate_next_run(self.cron, self.timezone, after=instant)
        if self.calendar is None:
            return run
        end = run + _LONGEST_SEARCH
        while run < end:
            opens = opens_at(self.calendar, run, until=end)
            if opens == run:
                return run
            after = end if opens is None else opens - _MICROSECOND
            run = CronParser.calculate_next_run(self.cron, self.timezone, after=after)
        raise InvalidCron(f"no run of '{self.cron}' falls on a session of {self.calendar.name}", field="calendar")

    def is_open(self, instant: datetime) -> bool:
        """Whether the calendar lets anything happen at an instant."""
        return self.calendar is None or self.calendar.is_session(instant.astimezone(self.calendar.zone).date())

    def count(self, first: datetime, last: datetime) -> int:
        """Return how many there are from ``first`` to ``last``, both included, without enumerating them."""
        if self.calendar is None:
            return CronParser.count_runs(self.cron, self.timezone, after=first - _MICROSECOND, until=last)
        return sum(
            CronParser.count_runs(self.cron, self.timezone, after=begin - _MICROSECOND, until=end - _MICROSECOND)
            for begin, end in open_stretches(self.calendar, first, last + _MICROSECOND)
        )

    def newest(self, first: datetime, last: datetime, most: int) -> tuple[datetime, ...]:
        """Return the newest ``most`` from ``first`` to ``last``, or all if there are fewer, increasing."""
        begin = self._begin_of_newest(first, last, most)
        found: list[datetime] = []
        run = self.next_after(begin - _MICROSECOND)
        while run <= last:
            found.append(run)
            run = self.next_after(run)
        return tuple(found[-most:])

    def _begin_of_newest(self, first: datetime, last: datetime, most: int) -> datetime:
        """Return an instant from which on there are at least ``most``, and few more where seconds allow it."""
        if self.count(first, last) <= _ENOUGH * most:  # as nearly always; the search counts some fifteen times
            return first
        length, too_short = most * _SECOND, timedelta(0)
        while last - length > first and self.count(last - length, last) < most:
            length, too_short = 2 * length, length
        length = min(length, last - first)
        while length - too_short > _SECOND and self.count(last - length, last) > _ENOUGH * most:
            middle = (length + too_short) / 2
            if self.count(last - middle, last) < most:
                too_short = middle
            else:
                length = middle
        return last - length
