"""When bars close that follow the sessions of real exchanges, and what the clock still bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.market.bars import Bars, Timeframe, to_nanoseconds
from atf.market.closing import Closing, EndedBar
from atf.market.continuous_calendars import CurrencyWeek, RoundTheClock

# pandas and its friends warn of their own age now and then.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

CALENDARS = ExchangeCalendars()
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def closing(name: str | None, timeframe: str) -> Closing:
    calendar = None if name is None else await CALENDARS.trading_calendar(name)
    return Closing(Timeframe(timeframe), calendar)


@pytest.mark.parametrize(
    ("calendar", "timeframe", "opens", "closes"),
    [
        # New York changes its clocks on 8 March and 1 November 2026, London on 29 March.
        ("XNYS", "1d", "2026-03-06", "2026-03-06T21:00"),
        ("XNYS", "1d", "2026-03-09", "2026-03-09T20:00"),
        ("XNYS", "1d", "2026-10-30", "2026-10-30T20:00"),
        ("XNYS", "1d", "2026-11-02", "2026-11-02T21:00"),
        ("XLON", "1d", "2026-03-27", "2026-03-27T16:30"),
        ("XLON", "1d", "2026-03-30", "2026-03-30T15:30"),
        # The day after Thanksgiving is half a day; the week ends with it.
        ("XNYS", "1d", "2026-11-25", "2026-11-25T21:00"),
        ("XNYS", "1d", "2026-11-27", "2026-11-27T18:00"),
        ("XNYS", "1w", "2026-11-23", "2026-11-27T18:00"),
        # Good Friday: the week ends on Thursday. Independence Day is a Saturday: the Friday before is off.
        ("XNYS", "1w", "2026-03-30", "2026-04-02T20:00"),
        ("XNYS", "1w", "2026-06-29", "2026-07-02T20:00"),
        # A bar without a session closes by the clock, as an intraday bar always does.
        ("XNYS", "1d", "2026-11-26", "2026-11-27"),
        ("XNYS", "1d", "2026-11-28", "2026-11-29"),
        ("XNYS", "1h", "2026-11-27T17:00", "2026-11-27T18:00"),
        ("XNYS", "4h", "2026-11-27T16:00", "2026-11-27T20:00"),
        # Before noon in Auckland it still is the day before in Greenwich: a bar does not close before it opens.
        ("XNZE", "1d", "2025-12-24", "2025-12-24T00:01"),
        ("XASX", "1d", "2026-11-27", "2026-11-27T05:00"),
        ("24/5", "1w", "2026-11-23", "2026-11-27T22:00"),
        ("24/7", "1d", "2026-11-28", "2026-11-29"),
        ("24/7", "1w", "2026-11-23", "2026-11-30"),
        (None, "1d", "2026-11-27", "2026-11-28"),
    ],
)
async def test_a_bar_closes_with_its_session(
    calendar: str | None, timeframe: str, opens: str, closes: str
) -> None:
    assert (await closing(calendar, timeframe)).at(at(opens)) == at(closes)


@pytest.mark.parametrize(
    ("timeframe", "now", "opens"),
    [
        ("1d", "2026-11-27T17:59:59", "2026-11-25"),
        ("1d", "2026-11-27T18:00", "2026-11-27"),
        ("1d", "2026-11-30T20:59", "2026-11-27"),
        ("1d", "2026-01-01T12:00", "2025-12-31"),
        ("1w", "2026-11-27T17:59:59", "2026-11-16"),
        ("1w", "2026-11-27T18:00", "2026-11-23"),
    ],
)
async def test_the_newest_ended_bar_is_that_of_the_last_session_that_is_over(
    timeframe: str, now: str, opens: str
) -> None:
    own = await closing("XNYS", timeframe)
    assert own.newest_ended(at(now)) == EndedBar(at(opens), own.at(at(opens)))


async def test_without_sessions_nothing_is_ended_but_by_the_clock() -> None:
    for own in (await closing(None, "1d"), await closing("XNYS", "1h")):
        assert own.newest_ended(at("2026-11-27T18:00")) is None


async def test_bars_that_are_closed_are_those_whose_session_is_over() -> None:
    days = [at(f"2026-11-{day}") for day in (24, 25, 27)]
    bars = Bars.from_rows([(day, 1.0, 1.0, 1.0, 1.0, 1.0) for day in days])
    own = await closing("XNYS", "1d")
    counts = [len(own.closed_at(bars, at(f"2026-11-27T{time}"))) for time in ("17:59:59", "18:00")]
    assert counts == [2, 3]
    assert len(bars.closed_at(at("2026-11-27T23:59:59"), Timeframe.D1)) == 2


@given(
    st.sampled_from([RoundTheClock(), CurrencyWeek()]),
    st.sampled_from([Timeframe.D1, Timeframe.W1, Timeframe.H4]),
    st.integers(0, 20_000),
    st.integers(1, 30),
)
def test_bars_close_in_order_after_they_open_and_by_the_clock_at_the_latest(
    calendar: RoundTheClock | CurrencyWeek, timeframe: Timeframe, first: int, count: int
) -> None:
    monday = at("1975-01-06") + first * DAY // 7 * 7
    opens = np.array([to_nanoseconds(monday + n * timeframe.length) for n in range(count)], dtype=np.int64)
    closes = Closing(timeframe, calendar).times(opens)
    assert (closes > opens).all()
    assert (closes <= Closing(timeframe).times(opens)).all()
    assert (np.diff(closes) > 0).all()
