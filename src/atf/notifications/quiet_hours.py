"""Quiet hours: when a user does not want to be disturbed, and until when a message then waits.

Pure. A night begins and ends by the local clock; what lies within it is decided in real time, so that it is
exact when the clock is changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from atf.errors import InvalidInput, Problems
from atf.schedules.zone_timeline import first_instant, load_zone

_ONE_DAY: Final = timedelta(days=1)
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class Weekday(StrEnum):
    """A day of the week, in the order of ``date.weekday()``."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


WEEK: Final = tuple(Weekday)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one local time until another, on the following day if that is not later.

    ``days`` are those on which a night begins: one of Friday goes on into Saturday. A begin or end inside a gap
    of the clock is the first instant after the gap; of one that comes twice the first occurrence counts.
    """

    begins: time
    ends: time
    timezone: str
    days: frozenset[Weekday] = frozenset(WEEK)

    def holds(self, at: datetime) -> datetime | None:
        """Return the instant at which it is not quiet any more, or None if it is not quiet ``at`` this one.

        Time:   aware; the end is UTC, and the night's last instant is just before it.
        Errors: InvalidInput if the time zone is not known here.
        """
        today = at.astimezone(load_zone(self.timezone)).date()
        # Where the clock is set back over midnight, the night of the next date may have begun already.
        for day in (today - _ONE_DAY, today, today + _ONE_DAY):
            begin, end = self._night(day)
            if WEEK[day.weekday()] in self.days and begin <= at < end:
                return self.holds(end) or end  # two nights touch if a gap swallows what is between them
        return None

    def _night(self, day: date) -> tuple[datetime, datetime]:
        """Return begin and end of the night that begins on a local date; equal if a gap swallows all of it."""
        zone = load_zone(self.timezone)
        last = day if self.begins < self.ends else day + _ONE_DAY
        return (
            first_instant(zone, datetime.combine(day, self.begins)),
            first_instant(zone, datetime.combine(last, self.ends)),
        )


@dataclass(frozen=True, slots=True)
class QuietStatus:
    """A user's quiet hours as they are now: until when it is quiet, if it is, and how many deliveries wait."""

    hours: QuietHours | None
    quiet_until: datetime | None
    held: int


def parse_quiet_hours(begins: str, ends: str, timezone: str, days: Collection[Weekday] = WEEK) -> QuietHours:
    """Return quiet hours as a user gives them.

    Errors: InvalidInput that names each of ``from``, ``until`` and ``timezone`` that is wrong.
    """
    problems = Problems()
    with problems:
        load_zone(timezone)
    with problems:
        first = _time(begins, "from")
    with problems:
        last = _time(ends, "until")
        if begins == ends:
            raise InvalidInput(f"must be another time than from, got {ends} for both", field="until")
    problems.raise_any()
    return QuietHours(first, last, timezone, frozenset(days))


def parse_days(text: str) -> frozenset[Weekday]:
    """Return the weekdays of a list such as ``mon-thu,sun``; a range may go over the end of the week.

    Errors: InvalidInput(field="days").
    """
    days: set[Weekday] = set()
    for item in text.lower().split(","):
        first, dash, last = item.strip().partition("-")
        begin, end = _place(first, text), _place(last if dash else first, text)
        days.update(WEEK[place % len(WEEK)] for place in range(begin, end + 1 + len(WEEK) * (end < begin)))
    return frozenset(days)


def in_order(days: Collection[Weekday]) -> tuple[Weekday, ...]:
    """Return weekdays from Monday on."""
    return tuple(day for day in WEEK if day in days)


def _time(text: str, field: str) -> time:
    found = _TIME.fullmatch(text)
    if found is None:
        raise InvalidInput(f"must be a time of day from 00:00 to 23:59, got '{text}'", field=field)
    return time(int(found[1]), int(found[2]))


def _place(name: str, text: str) -> int:
    try:
        return WEEK.index(Weekday(name.strip()))
    except ValueError:
        allowed = ", ".join(WEEK)
        raise InvalidInput(
            f"must be a list of {allowed} and ranges of them such as mon-thu,sun, got '{text}'", field="days"
        ) from None
