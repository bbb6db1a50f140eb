from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import InvalidCron
from atf.schedules.cron_parser import CronParser
from atf.schedules.fire_times import FireTimes

YEAR = datetime(2026, 1, 1, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
NEW_YORK = ZoneInfo("America/New_York")
ZONES = ["UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati", "Africa/Casablanca"]
EXPRESSIONS = [
    "0 9 * * *", "30 2 * * *", "*/7 * * * *", "*/30 */2 * * * *", "0 0 29 2 *", "15 1-3 * * TUE",
    "0 */5 1 * MON", "* 2 * * *", "0 12 * 3,11 FRI", "* * * * * *",
]  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """Trades on weekdays but not at Christmas."""

    name: str = "XNYS"
    zone: ZoneInfo = NEW_YORK

    def is_session(self, day: date) -> bool:
        return day.weekday() < 5 and (day.month, day.day) != (12, 25)


def one_by_one(times: FireTimes, first: datetime, last: datetime) -> list[datetime]:
    found = []
    run = times.next_after(first - timedelta(microseconds=1))
    while run <= last:
        found.append(run)
        run = times.next_after(run)
    return found


def test_a_day_that_is_no_session_is_passed_over() -> None:
    times = FireTimes("0 9 * * *", "America/New_York", Exchange())
    thursday = datetime(2026, 12, 24, 14, tzinfo=UTC)
    assert times.next_after(thursday - SECOND) == thursday
    assert times.next_after(thursday) == thursday + 4 * DAY, "Friday is Christmas, then comes a weekend"


def test_the_day_is_that_of_the_exchange() -> None:
    times = FireTimes("0 1 * * *", "Asia/Tokyo", Exchange())
    friday_noon = datetime(2026, 6, 12, 16, tzinfo=UTC)
    assert times.next_after(friday_noon - SECOND) == friday_noon, "Saturday in Tokyo is Friday in New York"
    assert times.next_after(friday_noon) == friday_noon + 3 * DAY


def test_an_expression_that_never_meets_a_session_is_refused() -> None:
    with pytest.raises(
        InvalidCron, match=r"^calendar: no run of '0 9 \* \* SUN' falls on a session of XNYS"
    ) as caught:
        FireTimes("0 9 * * SUN", "UTC", Exchange()).next_after(YEAR)
    assert caught.value.field == "calendar"


def test_the_29th_of_february_on_a_session_is_found_over_decades() -> None:
    found = FireTimes("0 9 29 2 *", "America/New_York", Exchange()).next_after(datetime(2097, 1, 1, tzinfo=UTC))
    assert found.date() == date(2104, 2, 29)


@pytest.mark.parametrize("calendar", [None, Exchange()])
@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(ZONES),
    st.integers(0, 400 * 86_400),
    st.integers(0, 600),
    st.integers(1, 120),
)
def test_counting_and_the_newest_agree_with_one_by_one(
    calendar: Exchange | None, cron: str, zone: str, start: int, minutes: int, most: int
) -> None:
    times = FireTimes(cron, zone, calendar)
    first = YEAR + start * SECOND
    length = timedelta(minutes=minutes) * (0.2 if cron == "* * * * * *" else 1)
    expected = one_by_one(times, first, first + length)
    assert times.count(first, first + length) == len(expected)
    assert list(times.newest(first, first + length, most)) == expected[-most:]


@given(st.sampled_from(EXPRESSIONS[:-1]), st.sampled_from(ZONES), st.integers(-30, 30))
def test_counting_over_years_is_the_sum_of_its_parts(cron: str, zone: str, years: int) -> None:
    begin = YEAR.replace(year=YEAR.year + years)
    middle, end = begin + 217 * DAY + 5000 * SECOND, begin + 900 * DAY
    parts = [CronParser.count_runs(cron, zone, *part) for part in ((begin, middle), (middle, end))]
    assert sum(parts) == CronParser.count_runs(cron, zone, begin, end)


def test_a_week_of_seconds_is_counted_without_a_walk() -> None:
    times = FireTimes("* * * * * *", "America/New_York")
    assert times.count(YEAR, YEAR + 7 * DAY) == 604_801
    assert times.newest(YEAR, YEAR + 7 * DAY, 2) == (YEAR + 7 * DAY - SECOND, YEAR + 7 * DAY)


def test_nothing_due_is_nothing() -> None:
    times = FireTimes("0 0 1 1 *", "UTC")
    assert times.count(YEAR + DAY, YEAR + 2 * DAY) == 0
    assert times.newest(YEAR + DAY, YEAR + 2 * DAY, 5) == ()
