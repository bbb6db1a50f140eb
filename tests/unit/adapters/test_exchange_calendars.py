import subprocess
import sys
from datetime import date

import pytest

from atf.adapters.calendars.exchange_calendars import ExchangeCalendar, ExchangeCalendars
from atf.errors import InvalidInput

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
