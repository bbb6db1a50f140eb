import asyncio
import subprocess
import sys
from datetime import date, time, timedelta

import pytest

from atf.adapters.calendars.exchange_calendars import ExchangeCalendar, ExchangeCalendars
from atf.errors import InvalidInput
from atf.market.trading_calendar import Session

# pandas and its friends warn of their own age now and then.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


async def test_holidays_of_new_york_are_no_sessions() -> None:
    calendar = await ExchangeCalendars().load("XNYS")
    assert calendar.name == "XNYS"
    assert calendar.zone.key == "America/New_York"
    days = [date(2025, 7, 3), date(2025, 7, 4), date(2025, 7, 5), date(2025, 7, 7)]
    assert [calendar.is_session(day) for day in days] == [True, False, False, True]


@pytest.mark.parametrize("year", [1950, 2100])
async def test_where_the_calendar_ends_every_weekday_is_a_session(year: int) -> None:
    calendar = await ExchangeCalendars().load("XLON")
    january = [date(year, 1, day) for day in range(1, 15)]
    assert [calendar.is_session(day) for day in january] == [day.weekday() < 5 for day in january]


@pytest.mark.parametrize(("name", "hint"), [("NYS", "; did you mean XNYS?"), ("nope, never", ""), ("", "")])
async def test_an_unknown_calendar_is_refused_by_name(name: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await ExchangeCalendars().check_calendar(name)
    assert str(caught.value) == (
        f'calendar: "{name}" is not a trading calendar; name one by its exchange, such as XNYS or XLON{hint}'
    )


async def test_a_calendar_is_loaded_once() -> None:
    calendars = ExchangeCalendars()
    assert await calendars.load("XNYS") is await calendars.load("XNYS")
    assert isinstance(await calendars.load("XNYS"), ExchangeCalendar)


def test_who_needs_no_calendar_loads_no_pandas() -> None:
    code = (
        "import sys, atf.bootstrap.scheduler; "
        "sys.exit(any(m.split('.')[0] in ('pandas', 'exchange_calendars') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def instants(session: Session) -> tuple[str, str]:
    return f"{session.opens_at:%m-%d %H:%M}", f"{session.closes_at:%m-%d %H:%M}"


async def test_sessions_have_their_hours_half_days_and_changes_of_clocks() -> None:
    calendar = await ExchangeCalendars().trading_calendar("XNYS")
    sessions = calendar.sessions_between(date(2026, 11, 25), date(2026, 11, 30))
    assert [instants(one) for one in sessions] == [
        ("11-25 14:30", "11-25 21:00"),
        ("11-27 14:30", "11-27 18:00"),
        ("11-30 14:30", "11-30 21:00"),
    ]
    around = calendar.sessions_between(date(2026, 10, 30), date(2026, 11, 2))
    assert [instants(one)[0] for one in around] == ["10-30 13:30", "11-02 14:30"]


async def test_sessions_of_long_ago_are_known() -> None:
    calendar = await ExchangeCalendars().trading_calendar("XNYS")
    september = calendar.sessions_between(date(2001, 9, 7), date(2001, 9, 18))
    assert [one.day.day for one in september] == [7, 10, 17, 18]


@pytest.mark.parametrize("year", [1950, 2100])
async def test_where_the_calendar_ends_weekdays_have_the_usual_hours_of_the_exchange(year: int) -> None:
    calendar = await ExchangeCalendars().trading_calendar("XNYS")
    july = calendar.sessions_between(date(year, 7, 1), date(year, 7, 14))
    assert [one.day for one in july] == [day for n in range(14) if (day := date(year, 7, n + 1)).weekday() < 5]
    assert {one.closes_at.astimezone(calendar.zone).time() for one in july} == {time(16)}


async def test_a_span_over_the_end_of_the_calendar_has_no_hole_and_nothing_twice() -> None:
    calendar = await ExchangeCalendars().load("XNYS")
    assert isinstance(calendar, ExchangeCalendar)
    last = calendar.days[-1]
    days = [one.day for one in calendar.sessions_between(last - timedelta(days=6), last + timedelta(days=8))]
    assert days == sorted(set(days))
    assert last in days
    assert len([day for day in days if day > last]) >= 5


async def test_a_session_may_begin_on_the_day_before_and_may_have_a_pause() -> None:
    calendars = ExchangeCalendars()
    futures = await calendars.trading_calendar("CMES")
    assert [instants(one) for one in futures.sessions_between(date(2026, 11, 24), date(2026, 11, 24))] == [
        ("11-23 23:00", "11-24 23:00")
    ]
    far = futures.sessions_between(date(2100, 11, 24), date(2100, 11, 24))
    assert far[0].opens_at.date() == date(2100, 11, 23)
    hong_kong = await calendars.trading_calendar("XHKG")
    (session,) = hong_kong.sessions_between(date(2026, 11, 24), date(2026, 11, 24))
    assert session.pause is not None
    assert [f"{instant:%H:%M}" for instant in session.pause] == ["04:00", "05:00"]


async def test_a_calendar_that_begins_late_in_the_library_is_read_from_there_on() -> None:
    tokyo = await ExchangeCalendars().load("XTKS")
    assert isinstance(tokyo, ExchangeCalendar)
    assert tokyo.days[0].year == 1997


async def test_coins_and_currencies_have_calendars_without_the_library() -> None:
    calendars = ExchangeCalendars()
    saturday = date(2026, 11, 28)
    assert len((await calendars.trading_calendar("24/7")).sessions_between(saturday, saturday)) == 1
    assert (await calendars.trading_calendar("24/5")).sessions_between(saturday, saturday) == ()


async def test_a_hundred_who_ask_at_once_get_the_same_calendar() -> None:
    calendars = ExchangeCalendars()
    found = await asyncio.gather(*(calendars.trading_calendar("XNYS") for _ in range(100)))
    assert len(set(map(id, found))) == 1
