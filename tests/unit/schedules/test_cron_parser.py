import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atf.errors import InvalidCron
from atf.schedules.cron_parser import CronParser

ROOT = Path(__file__).parents[3]
OWN: dict[str, Any] = json.loads((ROOT / "tests/data/cron_cases.json").read_text("utf-8"))
SHARED = ROOT / "../shared/cases/cron_cases.json"
EVERY_SECOND = "* * * * * *"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def texts(runs: list[datetime]) -> list[str]:
    return [run.isoformat() for run in runs]


# ---------------------------------------------------------------- golden cases


@pytest.mark.parametrize(("expression", "zone", "after", "expected"), [case[1:] for case in OWN["valid"]])
def test_next_runs_are_the_golden_ones(expression: str, zone: str, after: str, expected: list[str]) -> None:
    runs = CronParser.next_runs(expression, zone, after=at(after), count=len(expected))
    assert texts(runs) == expected


@pytest.mark.parametrize(("expression", "reason"), OWN["invalid"])
def test_rejected_expression_says_what_is_wrong_in_which_field(expression: str, reason: str) -> None:
    with pytest.raises(InvalidCron) as caught:
        CronParser.parse(expression, "UTC")
    assert (caught.value.field, caught.value.reason) == ("cron", reason)


@pytest.mark.parametrize("zone", OWN["unknown_zones"])
def test_unknown_zone_is_rejected_by_name(zone: str) -> None:
    with pytest.raises(InvalidCron) as caught:
        CronParser.parse("* * * * *", zone)
    assert caught.value.field == "timezone"
    assert caught.value.reason == f"unknown time zone '{zone}'; use an IANA name such as America/New_York"


@pytest.mark.skipif(not SHARED.exists(), reason="the shared cases are not on this machine")
def test_shared_cases_hold() -> None:
    cases = json.loads(SHARED.read_text("utf-8"))
    for case in cases["valid"]:
        expected = case["expected_next"]
        after = at(case["after"])
        runs = CronParser.next_runs(case["expression"], case["timezone"], after=after, count=len(expected))
        assert texts(runs) == expected, case["why"]
    for case in cases["invalid"]:
        with pytest.raises(InvalidCron) as caught:
            CronParser.parse(case["expression"], "UTC")
        assert caught.value.reason == case["reason"]
    for zone in cases["invalid_timezones"]:
        with pytest.raises(InvalidCron):
            CronParser.parse("* * * * *", zone)


# ---------------------------------------------------------------- single claims


def test_instant_without_zone_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        CronParser.calculate_next_run("* * * * *", "UTC", after=datetime(2026, 1, 1))  # noqa: DTZ001


def test_next_run_of_no_instant_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="reads no clock"):
        CronParser.calculate_next_run("* * * * *", "UTC")


def test_fraction_of_a_second_after_a_run_is_after_it() -> None:
    after = datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert CronParser.calculate_next_run(EVERY_SECOND, after=after) == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_runs_of_the_repeated_hour_compare_by_real_time() -> None:
    start = at("2026-11-01T00:45:00-04:00")
    runs = CronParser.next_runs("*/30 * * * *", "America/New_York", after=start, count=5)
    assert runs == sorted(runs)
    assert runs[2] - runs[1] == timedelta(minutes=30)


def test_parsed_expressions_are_remembered_and_equal_by_text_and_zone() -> None:
    first = CronParser.parse("0 9 * * 1-5", "Europe/Berlin")
    assert CronParser.parse("0 9 * * 1-5", "Europe/Berlin") is first
    assert len({first, CronParser.parse("0 9 * * 1-5", "UTC")}) == 2


def test_leap_day_on_a_sunday_is_found_across_the_year_2100() -> None:
    assert CronParser.calculate_next_run("0 0 29 2 */7", after=datetime(2088, 3, 1, tzinfo=UTC)) == datetime(
        2128, 2, 29, tzinfo=UTC
    )


def test_end_of_the_calendar_is_told_and_not_an_overflow() -> None:
    with pytest.raises(InvalidCron, match="no run before the year 9998"):
        CronParser.calculate_next_run("0 0 29 2 *", "Europe/Berlin", after=datetime(9997, 1, 1, tzinfo=UTC))


def test_clock_set_back_just_before_a_piece_of_the_timeline_is_remembered() -> None:
    # Pieces start anywhere in a year, so that some of these changes are close to a start.
    for year in range(1970, 2037):
        start = datetime(year, 10, 24, tzinfo=UTC)
        runs = CronParser.next_runs("30 0,1,2,3 * * *", "Europe/Berlin", after=start, count=40)
        assert len({run.replace(tzinfo=None) for run in runs}) == 40


def test_yearly_job_is_found_right_after_the_start_of_a_piece_of_the_timeline() -> None:
    for piece in range(1, 80):
        day = datetime.fromtimestamp((piece << 25) + 100_000, UTC).replace(hour=0, minute=0, second=0)
        expression = f"0 0 {day.day} {day.month} *"
        assert CronParser.calculate_next_run(expression, after=day - timedelta(days=300)) == day


def test_latest_run_of_years_of_seconds_is_found_at_once() -> None:
    started = time.perf_counter()
    found = CronParser.latest_run(
        EVERY_SECOND, "America/New_York", after=at("2016-01-01T00:00:00Z"), until=at("2026-11-24T12:00:00.5Z")
    )
    assert found == at("2026-11-24T12:00:00Z")
    assert time.perf_counter() - started < 1


def test_latest_run_at_the_end_counts_and_at_the_start_does_not() -> None:
    hour = at("2026-11-24T12:00:00Z")
    assert CronParser.latest_run("0 * * * *", "UTC", after=hour - timedelta(hours=1), until=hour) == hour
    assert CronParser.latest_run("0 * * * *", "UTC", after=hour, until=hour + timedelta(minutes=59)) is None
    assert CronParser.latest_run("0 * * * *", "UTC", after=hour, until=hour - timedelta(days=1)) is None


# ---------------------------------------------------------------- against a slow second implementation


@dataclass(frozen=True)
class Field:
    text: str
    allowed: frozenset[int]


@dataclass(frozen=True)
class Job:
    """A drawn expression with its meaning, which was drawn with it and not parsed from it."""

    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    has_seconds: bool

    @property
    def expression(self) -> str:
        parts = [self.minute, self.hour, self.day, self.month, self.weekday]
        return " ".join(part.text for part in ([self.second, *parts] if self.has_seconds else parts))

    @property
    def is_fixed_time(self) -> bool:
        return self.minute.text[0] != "*" and self.hour.text[0] != "*"

    def matches(self, local: datetime) -> bool:
        if local.second not in self.second.allowed or local.minute not in self.minute.allowed:
            return False
        if local.hour not in self.hour.allowed or local.month not in self.month.allowed:
            return False
        in_month = local.day in self.day.allowed
        in_week = bool({local.isoweekday(), local.isoweekday() % 7} & self.weekday.allowed)
        if self.day.text[0] == "*" or self.weekday.text[0] == "*":
            return in_month and in_week
        return in_month or in_week


@st.composite
def terms(draw: st.DrawFn, low: int, high: int) -> Field:
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, high - low))
    every = range(low, high + 1)
    return draw(
        st.sampled_from(
            [
                Field("*", frozenset(every)),
                Field(f"*/{step}", frozenset(every[::step])),
                Field(f"{first}", frozenset({first})),
                Field(f"{first}-{last}", frozenset(range(first, last + 1))),
                Field(f"{first}-{last}/{step}", frozenset(range(first, last + 1, step))),
                Field(f"{first}/{step}", frozenset(range(first, high + 1, step))),
            ]
        )
    )


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> Field:
    parts = draw(st.lists(terms(low, high), min_size=1, max_size=3))
    text = ",".join(part.text for part in parts)
    return Field(text, frozenset().union(*(part.allowed for part in parts)))


# Hours at which clocks are changed, so that fixed-time jobs often meet a change.
EARLY = [Field("0-4", frozenset(range(5))), *(Field(f"{hour}", frozenset({hour})) for hour in range(5))]
ANY_DAY = Field("*", frozenset(range(1, 32)))
ANY_MONTH = Field("*", frozenset(range(1, 13)))
ANY_WEEKDAY = Field("*", frozenset(range(8)))


@st.composite
def jobs(draw: st.DrawFn, *, has_seconds: bool) -> Job:
    return Job(
        draw(fields(0, 59)) if has_seconds else Field("0", frozenset({0})),
        draw(fields(0, 59)),
        draw(st.one_of(fields(0, 23), st.sampled_from(EARLY))),
        draw(st.one_of(st.just(ANY_DAY), fields(1, 31))),
        draw(st.one_of(st.just(ANY_MONTH), st.just(ANY_MONTH), fields(1, 12))),
        draw(st.one_of(st.just(ANY_WEEKDAY), fields(0, 7))),
        has_seconds,
    )


def expected_runs(job: Job, zone: ZoneInfo, after: datetime, until: datetime, step: timedelta) -> list[datetime]:
    """Return every run in after < run <= until by trying each instant, or each local time of a fixed job."""
    if not job.is_fixed_time:
        return [t for t in _grid(after + step, until, step) if job.matches(t.astimezone(zone))]
    margin = timedelta(hours=30)
    jumps = _jumps(zone, after - timedelta(minutes=1), until + timedelta(minutes=1), step)
    locals_ = _grid(_local(after, zone) - margin, _local(until, zone) + margin, step)
    runs = {_instant_of(local, zone, jumps) for local in locals_ if job.matches(local)}
    return sorted(run for run in runs if run is not None and after < run <= until)


def _grid(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    return [start + i * step for i in range((end - start) // step + 1)]


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _jumps(zone: ZoneInfo, start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    return [t for t in _grid(start, end, step) if _local(t, zone) - _local(t - step, zone) > step]


def _instant_of(local: datetime, zone: ZoneInfo, jumps: list[datetime]) -> datetime | None:
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _local(instant, zone) == local:
        return instant
    return next((t for t in jumps if _local(t, zone) > local > _local(t - timedelta(days=2), zone)), None)


# Instants of a change, with some that stay away from one.
MOMENTS = [
    ("America/New_York", "2026-03-08T07:00Z"),
    ("America/New_York", "2026-11-01T06:00Z"),
    ("America/St_Johns", "2026-03-08T05:30Z"),
    ("America/St_Johns", "2006-10-29T02:31Z"),
    ("Europe/Berlin", "2026-03-29T01:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00Z"),
    ("Pacific/Kiritimati", "1994-12-31T10:40Z"),
    ("Pacific/Kwajalein", "1969-09-30T13:00Z"),
    ("Pacific/Kwajalein", "1993-08-21T12:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00Z"),
    ("Africa/Casablanca", "2026-03-22T02:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00Z"),
    ("Asia/Kathmandu", "2026-07-01T00:00Z"),
    ("UTC", "2024-02-28T23:00Z"),
]
# Offsets with seconds: the hours around these are tried second by second.
ODD_MOMENTS = [
    ("America/New_York", "1883-11-18T17:00:00Z"),
    ("Europe/Amsterdam", "1937-06-30T23:40:28Z"),
    ("Africa/Monrovia", "1972-01-07T00:44:30Z"),
    *MOMENTS,
]


@settings(max_examples=150, deadline=None)
@given(
    job=jobs(has_seconds=False),
    moment=st.sampled_from(MOMENTS),
    before=st.integers(-60, 40 * 60),
    part=st.integers(0, 59),
)
def test_five_fields_agree_with_trying_every_minute(
    job: Job, moment: tuple[str, str], before: int, part: int
) -> None:
    name, change = moment
    start = at(change) - timedelta(minutes=before)
    end = start + timedelta(hours=60)
    expected = expected_runs(job, ZoneInfo(name), start, end, timedelta(minutes=1))
    assert iterated(job, name, start + timedelta(seconds=part), end) == expected
    latest = latest_or_reject(job, name, start, end)
    assert latest == (expected[-1] if expected else None)


@settings(max_examples=50, deadline=None)
@given(job=jobs(has_seconds=True), moment=st.sampled_from(ODD_MOMENTS), before=st.integers(-100, 4000))
def test_six_fields_agree_with_trying_every_second(job: Job, moment: tuple[str, str], before: int) -> None:
    name, change = moment
    start = at(change) - timedelta(seconds=before)
    end = start + timedelta(seconds=5000)
    expected = expected_runs(job, ZoneInfo(name), start, end, timedelta(seconds=1))
    assert iterated(job, name, start, end) == expected
    assert latest_or_reject(job, name, start, end) == (expected[-1] if expected else None)


def iterated(job: Job, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Return the runs up to ``end``, having checked that they increase and are what their offset says."""
    runs: list[datetime] = []
    after = start
    while True:
        try:
            run = CronParser.calculate_next_run(job.expression, zone, after=after)
        except InvalidCron:  # a drawn date that never occurs; the oracle then finds nothing either
            return runs
        assert run > after
        assert run.utcoffset() == run.astimezone(ZoneInfo(zone)).utcoffset()
        if run > end:
            return runs
        runs.append(run)
        after = run


def latest_or_reject(job: Job, zone: str, start: datetime, end: datetime) -> datetime | None:
    try:
        return CronParser.latest_run(job.expression, zone, after=start, until=end)
    except InvalidCron:
        return None


@settings(max_examples=200, deadline=None)
@given(
    job=st.one_of(jobs(has_seconds=False), jobs(has_seconds=True)),
    zone=st.sampled_from(sorted({name for name, _ in MOMENTS})),
    start=st.datetimes(datetime(1850, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_runs_are_never_past_and_strictly_increase_anywhere(job: Job, zone: str, start: datetime) -> None:
    after = start
    for _ in range(5):
        try:
            run = CronParser.calculate_next_run(job.expression, zone, after=after)
        except InvalidCron:
            return
        assert run > after
        assert latest_or_reject(job, zone, after, run) == run
        after = run
