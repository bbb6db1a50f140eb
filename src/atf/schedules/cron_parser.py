"""Cron expressions and their next runs, by the rules of the alert semantics, section 12.

Pure: instants come in as arguments. The computation is our own and uses no cron library: cronsim, the closest
one, gives six-field jobs no daylight-saving rule, returns times in the past when started inside a repeated
hour, moves through gaps in whole minutes, and takes ``L``, ``W`` and ``#``. APScheduler counts weekdays from
Monday, and croniter reads the seconds last.

How it works: a zone is a row of stretches with a fixed offset (``zone_timeline``), and inside a stretch local
time is plain integer arithmetic. A real-time job runs whenever the local clock shows a matching time. A
fixed-time job runs only at local times that the clock shows for the first time, and once at the start of a
stretch if the clock jumped over a matching time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import timezone as fixed_offset
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from atf.errors import InvalidCron
from atf.schedules.cron_fields import DAY_OF_MONTH, DAY_OF_WEEK, HOUR, MINUTE, MONTH, SECOND
from atf.schedules.zone_timeline import CHUNK_BITS, MARGIN, Stretch, load_zone, stretches

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.toordinal()
_EPOCH_WEEKDAY: Final = 4  # Thursday, counted from Sunday
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = 86_400
# Two years before the calendar ends, so that the piece of a timeline around it still fits.
_LAST_DAY: Final = date(9997, 12, 31).toordinal() - _EPOCH_DAY
_NEVER: Final = (_LAST_DAY + 1) * _DAY
_FIVE_FIELDS: Final = 5
_SIX_FIELDS: Final = 6
_LONGEST_MONTH: Final = 31
_MONTH_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# One for each expression and zone in use: a hundred thousand schedules have far fewer different ones.
_PARSED: Final = 32_768


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A valid expression in a known zone; equal if both texts are, and made by ``CronParser.parse`` only.

    ``next_hour[h]``, ``next_minute[m]`` and ``next_second[s]`` are the first allowed number from there on, or
    the table's last index if there is none.
    """

    text: str
    timezone: str
    zone: ZoneInfo = field(repr=False, compare=False)
    next_second: tuple[int, ...] = field(repr=False, compare=False)
    next_minute: tuple[int, ...] = field(repr=False, compare=False)
    next_hour: tuple[int, ...] = field(repr=False, compare=False)
    days: frozenset[int] = field(repr=False, compare=False)
    months: frozenset[int] = field(repr=False, compare=False)
    weekdays: frozenset[int] = field(repr=False, compare=False)
    needs_both_days: bool = field(repr=False, compare=False)
    is_fixed_time: bool = field(repr=False, compare=False)

    def matches_day(self, day: int) -> bool:
        """Tell whether the job runs on this day, counted from 1970-01-01, if no time of day forbids it."""
        on_date = date.fromordinal(day + _EPOCH_DAY)
        if on_date.month not in self.months:
            return False
        in_month, in_week = on_date.day in self.days, (day + _EPOCH_WEEKDAY) % 7 in self.weekdays
        return (in_month and in_week) if self.needs_both_days else (in_month or in_week)


class CronParser:
    """Reads cron expressions of five or six fields (seconds first) and computes when they run.

    Time: instants are aware; results carry the zone's offset as a fixed offset, because two datetimes of one
          ``ZoneInfo`` compare by their wall clocks and would not increase through a repeated hour.
    Errors: InvalidCron with ``field`` "cron" or "timezone"; ValueError for an instant without a zone.
    """

    @staticmethod
    def parse(expression: str, timezone: str = "UTC") -> CronExpression:
        """Return the expression, checked, and remembered for the next call."""
        return _parse(expression, timezone)

    @staticmethod
    def calculate_next_run(expression: str, timezone: str = "UTC", after: datetime | None = None) -> datetime:
        """Return the first run strictly after ``after``, which has a default only because it follows one.

        Errors: InvalidCron also if no run is left in the calendar; ValueError without ``after``.
        """
        if after is None:
            raise ValueError("the next run is after an instant, and this module reads no clock")
        cron = _parse(expression, timezone)
        run = _next_run(cron, _seconds(after), _NEVER)
        if run is None:
            raise InvalidCron("no run before the year 9998", field="cron")
        return _to_local(*run)

    @staticmethod
    def next_runs(expression: str, timezone: str, after: datetime, count: int) -> list[datetime]:
        """Return the first ``count`` runs strictly after ``after``, increasing."""
        runs: list[datetime] = []
        for _ in range(count):
            after = CronParser.calculate_next_run(expression, timezone, after=after)
            runs.append(after)
        return runs

    @staticmethod
    def latest_run(expression: str, timezone: str, after: datetime, until: datetime) -> datetime | None:
        """Return the newest run with ``after`` < run <= ``until``, or None.

        It halves the time in question, so months of a job that runs every second cost some thirty steps.
        """
        cron = _parse(expression, timezone)
        end = high = _seconds(until)
        newest = _next_run(cron, _seconds(after), end)
        while newest is not None and newest[0] < high:
            # No run is in (high, end]; the newest known one is at or before high.
            middle = (newest[0] + high) // 2
            later = _next_run(cron, middle, end)
            if later is None:
                high = middle
            else:
                newest = later
        return None if newest is None else _to_local(*newest)

    @staticmethod
    def count_runs(expression: str, timezone: str, after: datetime, until: datetime) -> int:
        """Return how many runs there are with ``after`` < run <= ``until``.

        It counts whole days at a time, so a year of a job that runs every second costs no more than one that
        runs once a day.
        """
        return _count_runs(_parse(expression, timezone), _seconds(after) + 1, _seconds(until) + 1)


# ---------------------------------------------------------------- parsing


@lru_cache(maxsize=_PARSED)
def _parse(expression: str, timezone: str) -> CronExpression:
    texts = expression.upper().split()
    if len(texts) not in (_FIVE_FIELDS, _SIX_FIELDS):
        raise InvalidCron(f"expected 5 or 6 fields, got {len(texts)}", field="cron")
    second, minute, hour, day, month, weekday = texts if len(texts) == _SIX_FIELDS else ["0", *texts]
    cron = CronExpression(
        text=expression,
        timezone=timezone,
        zone=load_zone(timezone),
        next_second=_next_allowed(SECOND.parse(second), 60),
        next_minute=_next_allowed(MINUTE.parse(minute), 60),
        next_hour=_next_allowed(HOUR.parse(hour), 24),
        days=DAY_OF_MONTH.parse(day),
        months=MONTH.parse(month),
        weekdays=frozenset(number % 7 for number in DAY_OF_WEEK.parse(weekday)),
        needs_both_days=day.startswith("*") or weekday.startswith("*"),
        is_fixed_time=not minute.startswith("*") and not hour.startswith("*"),
    )
    _reject_dates_that_never_occur(cron)
    return cron


@lru_cache(maxsize=1024)
def _next_allowed(allowed: frozenset[int], size: int) -> tuple[int, ...]:
    return tuple(min((n for n in allowed if n >= start), default=size) for start in range(size + 1))


def _reject_dates_that_never_occur(cron: CronExpression) -> None:
    longest = max(_MONTH_LENGTHS[month - 1] for month in cron.months)
    if cron.needs_both_days and min(cron.days) > longest:
        raise InvalidCron(f"{DAY_OF_MONTH.name}: this date never occurs", field="cron")


# ---------------------------------------------------------------- searching


def _next_run(cron: CronExpression, after: int, until: int) -> tuple[int, int] | None:
    """Return the first run in ``after`` < run <= ``until`` as (instant, offset), both in seconds."""
    first = after + 1
    chunk = first >> CHUNK_BITS
    while first <= until:
        for stretch in stretches(cron.zone, chunk):
            if stretch.end > first:
                run = _first_in(cron, stretch, first)
                if run is not None:
                    return (run, stretch.offset) if run <= until else None
        chunk = _next_chunk(cron, chunk)
        first = chunk << CHUNK_BITS
    return None


def _next_chunk(cron: CronExpression, chunk: int) -> int:
    """Return the next piece of the timeline in which a run is possible, passing over years without one."""
    possible = _next_local(cron, ((chunk + 1) << CHUNK_BITS) - MARGIN) - MARGIN
    return max(chunk + 1, possible >> CHUNK_BITS)


def _first_in(cron: CronExpression, stretch: Stretch, first: int) -> int | None:
    """Return the first run at or after ``first`` inside the stretch."""
    local = max(first, stretch.start) + stretch.offset
    if cron.is_fixed_time:
        if stretch.start >= first and _jumped_over_a_run(cron, stretch):
            return stretch.start
        local = max(local, stretch.reached)
    found = _next_local(cron, local)
    return found - stretch.offset if found < min(stretch.local_end, _NEVER) else None


def _jumped_over_a_run(cron: CronExpression, stretch: Stretch) -> bool:
    return stretch.reached < stretch.local_start and _next_local(cron, stretch.reached) < stretch.local_start


def _next_local(cron: CronExpression, local: int) -> int:
    """Return the first matching time at or after ``local``, both on one unbroken local clock."""
    day, second = divmod(local, _DAY)
    if day <= _LAST_DAY and cron.matches_day(day):
        time = _next_time(cron, second)
        if time < _DAY:
            return day * _DAY + time
    day = _next_day(cron, day + 1)
    return day * _DAY + _next_time(cron, 0)


def _next_time(cron: CronExpression, second_of_day: int) -> int:
    """Return the first matching second of the day from there on, or one day if there is none."""
    minute_of_day, second = divmod(second_of_day, 60)
    hour, minute = divmod(minute_of_day, 60)
    found = cron.next_hour[hour]
    if found == hour:
        time = _next_time_in_hour(cron, minute, second)
        if time < 3600:
            return hour * 3600 + time
        found = cron.next_hour[hour + 1]
    return found * 3600 + _next_time_in_hour(cron, 0, 0) if found < 24 else _DAY


def _next_time_in_hour(cron: CronExpression, minute: int, second: int) -> int:
    found = cron.next_minute[minute]
    if found == minute:
        time = cron.next_second[second]
        if time < 60:
            return minute * 60 + time
        found = cron.next_minute[minute + 1]
    return found * 60 + cron.next_second[0] if found < 60 else 3600


def _next_day(cron: CronExpression, day: int) -> int:
    """Return the first matching day from there on; ``_LAST_DAY + 1`` if there is none."""
    for possible in _days_of_months(cron, day):
        if cron.matches_day(possible):
            return possible
    return _LAST_DAY + 1


def _days_of_months(cron: CronExpression, day: int) -> Iterator[int]:
    """Yield the days from there on, without those of months in which the job never runs."""
    while day <= _LAST_DAY:
        on_date = date.fromordinal(day + _EPOCH_DAY)
        if on_date.month in cron.months:
            yield day
            day += 1
        else:
            day += _LONGEST_MONTH + 1 - on_date.day
            day -= date.fromordinal(day + _EPOCH_DAY).day - 1


# ---------------------------------------------------------------- counting


def _count_runs(cron: CronExpression, first: int, end: int) -> int:
    """Return how many runs there are in ``first`` <= run < ``end``, in seconds."""
    total = 0
    for chunk in range(first >> CHUNK_BITS, ((end - 1) >> CHUNK_BITS) + 1):
        begin, stop = max(first, chunk << CHUNK_BITS), min(end, (chunk + 1) << CHUNK_BITS)
        for stretch in stretches(cron.zone, chunk):
            total += _count_in(cron, stretch, max(begin, stretch.start), min(stop, stretch.end))
    return total


def _count_in(cron: CronExpression, stretch: Stretch, first: int, end: int) -> int:
    """Count as ``_first_in`` finds: the run of a jump stands for a run at the same instant as well."""
    if first >= end:
        return 0
    local, local_end = first + stretch.offset, min(end + stretch.offset, _NEVER)
    if not cron.is_fixed_time:
        return _count_local(cron, local, local_end)
    jumped = first == stretch.start and _jumped_over_a_run(cron, stretch)
    return jumped + _count_local(cron, max(local + jumped, stretch.reached), local_end)


def _count_local(cron: CronExpression, first: int, end: int) -> int:
    """Return how many times match in ``first`` <= time < ``end`` on one unbroken local clock."""
    if first >= end:
        return 0
    (day, second), (last_day, last_second) = divmod(first, _DAY), divmod(end, _DAY)
    days = sum(map(cron.matches_day, range(day, last_day)))
    total = days * _times_before(cron, _DAY)
    total -= _times_before(cron, second) if cron.matches_day(day) else 0
    return total + (_times_before(cron, last_second) if cron.matches_day(last_day) else 0)


def _times_before(cron: CronExpression, second_of_day: int) -> int:
    """Return at how many earlier seconds of a day on which the job runs it does so."""
    minute_of_day, second = divmod(second_of_day, 60)
    hour, minute = divmod(minute_of_day, 60)
    minutes, seconds = _allowed_before(cron.next_minute, 60), _allowed_before(cron.next_second, 60)
    times = _allowed_before(cron.next_hour, hour) * minutes * seconds
    if cron.next_hour[hour] != hour or hour == len(cron.next_hour) - 1:
        return times
    times += _allowed_before(cron.next_minute, minute) * seconds
    return times + (_allowed_before(cron.next_second, second) if cron.next_minute[minute] == minute else 0)


@lru_cache(maxsize=8192)
def _allowed_before(following: tuple[int, ...], number: int) -> int:
    return sum(following[n] == n for n in range(number))


# ---------------------------------------------------------------- instants and seconds


def _seconds(instant: datetime) -> int:
    if instant.tzinfo is None:
        raise ValueError("an instant without a time zone cannot be scheduled from")
    return (instant - _EPOCH) // _SECOND


def _to_local(instant: int, offset: int) -> datetime:
    zone = fixed_offset(timedelta(seconds=offset))
    return _EPOCH.replace(tzinfo=zone) + timedelta(seconds=instant + offset)
