"""Daily bars as files write them, market by market and way by way, against the sessions that they are of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.market.bars import TimeArray, to_instant, to_nanoseconds
from atf.market.session_dates import NO_DATE, dates_of
from atf.market.trading_calendar import Session, TradingCalendar

# What the library of calendars uses of pandas is outdated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

DAY = timedelta(days=1)
YEAR = date(2024, 1, 1), date(2024, 12, 31)
WEEK = date(2024, 1, 15), date(2024, 1, 19)
MARKETS = ("XNYS", "XLON", "XASX", "XNZE", "XTKS", "XHKG", "BVMF", "CMES", "24/5")
Way = Callable[[Session, ZoneInfo], datetime]


@pytest.fixture(scope="module")
def calendars() -> ExchangeCalendars:
    return ExchangeCalendars()


def at(hour: int, minute: int = 0, second: int = 0) -> Way:
    return lambda session, zone: datetime.combine(session.day, time(hour, minute, second), zone)


INSTANTS: dict[str, Way] = {
    "midnight there": at(0),
    "midnight without summer time": lambda session, zone: (
        datetime.combine(session.day, time(), zone)
        + (datetime.combine(session.day, time(12), zone).dst() or timedelta(0))
    ),
    "opening": lambda session, _: session.opens_at,
    "close": lambda session, _: session.closes_at,
    "the day's last second": at(23, 59, 59),
}
BY_THE_WALL: dict[str, Way] = {name: INSTANTS[name] for name in ("opening", "close", "the day's last second")}


def times_of(written: Sequence[datetime]) -> TimeArray:
    return np.array([to_nanoseconds(each) for each in written], dtype=np.int64)


def as_utc(instant: datetime, zone: ZoneInfo) -> datetime:
    """What is read of a time of the exchange's clock that names no offset."""
    return instant.astimezone(zone).replace(tzinfo=UTC)


def days_of(times: TimeArray, calendar: TradingCalendar, *, may_be_local: bool) -> list[date | None]:
    found = dates_of(times, calendar, may_be_local=may_be_local).tolist()
    return [None if each == NO_DATE else to_instant(each).date() for each in found]


def moving(
    sessions: Sequence[Session], way: Way, zone: ZoneInfo, *, on_wall: bool
) -> tuple[TimeArray, list[date]]:
    """Return the times that are not at 00:00Z, where they would be dates, and their days."""
    written = [way(one, zone).astimezone(UTC) for one in sessions]
    written = [as_utc(each, zone) for each in written] if on_wall else written
    kept = [(each, one.day) for each, one in zip(written, sessions, strict=True) if each.time() != time()]
    return times_of([each for each, _ in kept]), [day for _, day in kept]


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("way", INSTANTS)
@pytest.mark.parametrize("span", [YEAR, WEEK], ids=["a year", "a week"])
@pytest.mark.parametrize("may_be_local", [False, True], ids=["with an offset", "without"])
async def test_instants_are_the_days_of_their_sessions(
    calendars: ExchangeCalendars, name: str, way: str, span: tuple[date, date], may_be_local: bool
) -> None:
    calendar = await calendars.trading_calendar(name)
    sessions = calendar.sessions_between(*span)
    times, days = moving(sessions, INSTANTS[way], calendar.zone, on_wall=False)
    if len(times):
        assert days_of(times, calendar, may_be_local=may_be_local) == days


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("way", BY_THE_WALL)
@pytest.mark.parametrize("span", [YEAR, WEEK], ids=["a year", "a week"])
async def test_times_of_the_exchanges_clock_are_the_days_of_their_sessions(
    calendars: ExchangeCalendars, name: str, way: str, span: tuple[date, date]
) -> None:
    calendar = await calendars.trading_calendar(name)
    sessions = calendar.sessions_between(*span)
    times, days = moving(sessions, BY_THE_WALL[way], calendar.zone, on_wall=True)
    if len(times):
        assert days_of(times, calendar, may_be_local=True) == days


@pytest.mark.parametrize(
    ("written", "is_local", "day"),
    [
        ("2024-01-02T00:00:00+11:00", False, date(2024, 1, 2)),
        ("2024-01-02 16:00", True, date(2024, 1, 2)),
        ("2024-01-02 16:12", True, date(2024, 1, 2)),  # after the auction
        ("2024-01-02T23:00:00Z", True, date(2024, 1, 3)),
        ("2024-01-02T16:00:00Z", False, None),  # three o'clock at night
    ],
)
async def test_a_single_day_of_sydney(
    calendars: ExchangeCalendars, written: str, is_local: bool, day: date | None
) -> None:
    instant = datetime.fromisoformat(written)
    times = times_of([instant if instant.tzinfo else instant.replace(tzinfo=UTC)])
    assert days_of(times, await calendars.trading_calendar("XASX"), may_be_local=is_local) == [day]


async def test_what_may_be_midnight_or_the_close_of_the_day_before_is_not_guessed(
    calendars: ExchangeCalendars,
) -> None:
    """Three in the afternoon in UTC is midnight in Tokyo, and by Tokyo's clock it was the close."""
    tokyo = await calendars.trading_calendar("XTKS")
    tuesday = datetime(2024, 1, 16, 15, tzinfo=UTC)
    assert days_of(times_of([tuesday]), tokyo, may_be_local=True) == [None]
    assert days_of(times_of([tuesday]), tokyo, may_be_local=False) == [date(2024, 1, 17)]


async def test_a_turn_of_currencies_is_an_opening_or_a_close_as_the_file_tells(
    calendars: ExchangeCalendars,
) -> None:
    week = await calendars.trading_calendar("24/5")
    tuesday = datetime(2024, 1, 16, 22, tzinfo=UTC)
    assert days_of(times_of([tuesday]), week, may_be_local=False) == [None]
    with_sunday = times_of([tuesday - 2 * DAY, tuesday])
    with_friday = times_of([tuesday, tuesday + 3 * DAY])
    assert days_of(with_sunday, week, may_be_local=False) == [date(2024, 1, 15), date(2024, 1, 17)]
    assert days_of(with_friday, week, may_be_local=False) == [date(2024, 1, 16), date(2024, 1, 19)]


async def test_a_way_that_fits_few_bars_is_none(calendars: ExchangeCalendars) -> None:
    """By New York's clock these are the openings of currencies; taken for UTC all but the Sunday would fit."""
    week = await calendars.trading_calendar("24/5")
    evenings = [datetime(2024, 1, 14, 17, tzinfo=UTC) + n * DAY for n in range(5)]
    assert days_of(times_of(evenings), week, may_be_local=True) == [None] * 5


async def test_a_midnight_on_a_holiday_is_a_date_and_another_time_is_none(calendars: ExchangeCalendars) -> None:
    new_york = await calendars.trading_calendar("XNYS")
    holiday = date(2024, 1, 15)
    days = [date(2024, 1, 2) + n * DAY for n in range(30)]
    days = [day for day in days if day.weekday() < 5]
    for hour, expected in ((0, holiday), (16, None)):
        times = times_of([datetime.combine(day, time(hour), new_york.zone) for day in days])
        found = dict(zip(days, days_of(times, new_york, may_be_local=False), strict=True))
        assert found == {day: day for day in days} | {holiday: expected}
