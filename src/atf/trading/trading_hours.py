"""Trading hours: when a bot may open positions; outside of them it only closes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from atf.errors import InvalidInput, InvariantViolation, Problems, shown
from atf.market.trading_calendar import Session, TradingCalendar
from atf.notifications.quiet_hours import WEEK, Weekday
from atf.schedules.zone_timeline import load_zone

_ONE_DAY: Final = timedelta(days=1)
_UTC: Final = ZoneInfo("UTC")
_TIME: Final = "([01][0-9]|2[0-3]):([0-5][0-9])"
_HOURS: Final = re.compile(f"{_TIME}-(?:{_TIME}|24:00)")


@dataclass(frozen=True, slots=True)
class TradingHours:
    """All of these must be so that it is open; what is None does not matter.

    ``begins``, ``ends``: since local midnight; hours that end no later than they begin go on into the next day.
    ``days``: on which hours begin. ``timezone``: of both; None: the calendar's, else UTC.
    """

    calendar: str | None = None
    begins: timedelta = timedelta(0)
    ends: timedelta = _ONE_DAY
    days: frozenset[Weekday] = frozenset(WEEK)
    timezone: str | None = None


def parse_hours(document: Mapping[str, Any]) -> TradingHours:
    """Return hours as a configuration's ``schedule`` has them; what its schema refuses is left out.

    Errors: InvalidInput with each field that is wrong.
    """
    problems = Problems()
    with problems:
        _hours(document.get("hours"))
    with problems:
        _zone(document.get("timezone"))
    problems.raise_any()
    begins, ends = _hours(document.get("hours"))
    days = document.get("days")
    chosen = [day for day in WEEK if day in days] if isinstance(days, list) else WEEK
    return TradingHours(
        calendar=document.get("calendar"),
        begins=begins,
        ends=ends,
        days=frozenset(chosen),
        timezone=_zone(document.get("timezone")),
    )


def is_open(hours: TradingHours | None, instant: datetime, calendar: TradingCalendar | None = None) -> bool:
    """Tell whether positions may be opened at an instant.

    ``calendar``: the one that ``hours`` name. Without hours it is always open.

    Errors: InvariantViolation if hours name a calendar and it was not given.
    """
    if hours is None:
        return True
    if hours.calendar is not None and calendar is None:
        raise InvariantViolation(f"whether it is open cannot be told without the calendar {hours.calendar}")
    named = calendar if hours.calendar is not None else None
    return _is_within(hours, instant, named) and (named is None or _is_session(named, instant))


def _is_within(hours: TradingHours, instant: datetime, calendar: TradingCalendar | None) -> bool:
    zone = load_zone(hours.timezone) if hours.timezone else calendar.zone if calendar else _UTC
    local = instant.astimezone(zone)
    since_midnight = local.replace(tzinfo=None) - datetime.combine(local, datetime.min.time())
    today, yesterday = (WEEK[day.weekday()] for day in (local, local - _ONE_DAY))
    if hours.begins < hours.ends:
        return today in hours.days and hours.begins <= since_midnight < hours.ends
    is_evening = today in hours.days and since_midnight >= hours.begins
    return is_evening or (yesterday in hours.days and since_midnight < hours.ends)


def _is_session(calendar: TradingCalendar, instant: datetime) -> bool:
    day = instant.astimezone(UTC).date()
    return any(_holds(one, instant) for one in calendar.sessions_between(day - _ONE_DAY, day + _ONE_DAY))


def _holds(session: Session, instant: datetime) -> bool:
    is_pause = session.pause is not None and session.pause[0] <= instant < session.pause[1]
    return session.opens_at <= instant < session.closes_at and not is_pause


def _hours(given: object) -> tuple[timedelta, timedelta]:
    if not isinstance(given, str):
        return timedelta(0), _ONE_DAY
    found = _HOURS.fullmatch(given)
    if found is None:
        raise InvalidInput(f"must be two local times such as 09:30-16:00, got {shown(given)}", field="hours")
    begins = timedelta(hours=int(found[1]), minutes=int(found[2]))
    ends = timedelta(hours=int(found[3]), minutes=int(found[4])) if found[3] else _ONE_DAY
    if begins == ends:
        raise InvalidInput(f"must end at another time than they begin, got {shown(given)}", field="hours")
    return begins, ends


def _zone(given: object) -> str | None:
    if not isinstance(given, str):
        return None
    load_zone(given)
    return given
