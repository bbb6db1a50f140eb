"""Days and weeks made of sessions, against a plain loop over bars, where sessions cross midnight UTC."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.adapters.providers.bar_files import read_bars
from atf.errors import InvalidInput
from atf.market.bars import COLUMNS, Bars, Timeframe
from atf.market.continuous_calendars import CurrencyWeek, RoundTheClock
from atf.market.forming import made_of_finer
from atf.market.resampling import resampled
from atf.market.session_times import SessionTimes, sessions_of
from atf.market.trading_calendar import Session, TradingCalendar
from atf.market.whole_bars import without_cut_ends

# What the library of calendars uses of pandas is outdated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SHARED = Path(__file__).parents[3] / "../shared/data/ohlcv"
SYDNEY = ZoneInfo("Australia/Sydney")
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
M1, M30, H1, H4, D1, W1 = (Timeframe(word) for word in ("1m", "30m", "1h", "4h", "1d", "1w"))
MONDAY = datetime(2024, 4, 1, tzinfo=UTC)  # Sydney's clocks go back on the 7th


class Sydney:
    """Weekdays from 10:00 to 16:00 there; the 3rd of April is a half day, the 10th a holiday."""

    name = "SYDNEY"
    zone = SYDNEY

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        days = [first + n * DAY for n in range((last - first).days + 1)]
        return tuple(self._session(day) for day in days if day.weekday() < 5 and day != date(2024, 4, 10))

    def _session(self, day: date) -> Session:
        closes = time(14) if day == date(2024, 4, 3) else time(16)
        opens, ends = (datetime.combine(day, at, SYDNEY).astimezone(UTC) for at in (time(10), closes))
        return Session(day, opens, ends)


Row = tuple[datetime, float, float, float, float, float]


def by_hand(
    rows: Iterable[Row], source: Timeframe, target: Timeframe, calendar: TradingCalendar
) -> list[tuple[date, float, float, float, float, float]]:
    """Bar by bar, session by session, with dates instead of numbers."""
    rows = sorted(rows)
    if not rows:
        return []
    sessions = calendar.sessions_between((rows[0][0] - 9 * DAY).date(), (rows[-1][0] + 9 * DAY).date())
    groups: dict[date, list[Row]] = {}
    for row in rows:
        opens_in = [one.day for one in sessions if one.opens_at <= row[0] < one.closes_at]
        begins_in_it = [one.day for one in sessions if row[0] < one.opens_at < row[0] + source.length]
        for day in (opens_in or begins_in_it)[:1]:
            name = day - day.weekday() * DAY if target is W1 else day
            groups.setdefault(name, []).append(row)
    return [
        (
            name,
            group[0][1],
            max(row[2] for row in group),
            min(row[3] for row in group),
            group[-1][4],
            sum(row[5] for row in group),
        )
        for name, group in groups.items()
    ]


def made(bars: Bars, source: Timeframe, target: Timeframe, calendar: TradingCalendar) -> Bars:
    return resampled(bars, source, target, sessions_of(bars, source, target, calendar))


def require_equal(found: Bars, expected: list[tuple[date, float, float, float, float, float]]) -> None:
    assert [found.time_at(i) for i in range(len(found))] == [
        datetime.combine(row[0], time(), UTC) for row in expected
    ]
    columns = np.array([row[1:] for row in expected], dtype=np.float64).reshape(len(expected), len(COLUMNS))
    for i, name in enumerate(COLUMNS):
        np.testing.assert_allclose(found.column(name), columns[:, i], rtol=1e-12, err_msg=name)


def rows_of(bars: Bars) -> list[Row]:
    return [(bars.time_at(i), *(float(bars.column(name)[i]) for name in COLUMNS)) for i in range(len(bars))]  # type: ignore[misc]


def bars_every(step: timedelta, first: datetime, until: datetime) -> Bars:
    count = (until - first) // step
    return Bars.from_rows([(first + i * step, 10.0 + i, 12.0 + i, 9.0 + i, 11.0 + i, 1.0) for i in range(count)])


PRICE = st.floats(1, 1000)
TICKS = st.lists(
    st.tuples(st.integers(0, 3 * 7 * 24 * 2 - 1), PRICE, PRICE, PRICE, PRICE, PRICE),
    unique_by=lambda row: row[0],
    max_size=60,
)


@settings(deadline=None)
@given(TICKS, st.sampled_from([D1, W1]), st.sampled_from([Sydney(), CurrencyWeek(), RoundTheClock()]))
def test_any_half_hours_make_the_days_and_weeks_that_a_person_would_make(
    ticks: list[tuple[int, float, float, float, float, float]], target: Timeframe, calendar: TradingCalendar
) -> None:
    rows = [(MONDAY - DAY + at * 30 * MINUTE, *prices) for at, *prices in ticks]
    bars = Bars.from_rows(rows)  # type: ignore[arg-type]
    require_equal(made(bars, M30, target, calendar), by_hand(rows, M30, target, calendar))  # type: ignore[arg-type]


def test_a_session_over_midnight_utc_is_one_day_with_its_own_date() -> None:
    bars = bars_every(MINUTE, MONDAY - HOUR, MONDAY + 5 * HOUR)  # Monday's session, from Sunday 23:00Z
    days = made(bars, M1, D1, Sydney())
    assert [days.time_at(i) for i in range(len(days))] == [MONDAY]
    assert (days.open[0], days.close[0], days.volume[0]) == (10.0, 11.0 + 359, 360.0)


def test_what_is_traded_before_and_after_a_session_is_in_no_day() -> None:
    opens, closes = MONDAY - HOUR, MONDAY + 5 * HOUR
    around = bars_every(MINUTE, opens - 30 * MINUTE, closes + 30 * MINUTE)
    within = around.since(opens).before(closes)
    require_equal(made(around, M1, D1, Sydney()), by_hand(rows_of(within), M1, D1, Sydney()))
    assert len(made(around.before(opens), M1, D1, Sydney())) == 0


def test_a_bar_in_which_a_session_begins_belongs_to_it() -> None:
    new_york = SessionTimes.of([Session(MONDAY.date(), MONDAY + 13.5 * HOUR, MONDAY + 20 * HOUR)])
    hours = bars_every(HOUR, MONDAY + 11 * HOUR, MONDAY + 22 * HOUR)
    (volume,) = resampled(hours, H1, D1, new_york).volume
    assert volume == 7.0  # 13:00 to 19:00; the hour from 20:00 is after the close


def test_the_sunday_evening_of_currencies_belongs_to_monday_and_to_its_week() -> None:
    sunday = MONDAY - 3 * HOUR  # 17:00 in New York
    bars = bars_every(HOUR, sunday, sunday + 5 * DAY)
    days = made(bars, H1, D1, CurrencyWeek())
    assert [days.time_at(i) for i in range(len(days))] == [MONDAY + n * DAY for n in range(5)]
    assert days.volume.tolist() == [24.0] * 5
    weeks = made(bars, H1, W1, CurrencyWeek())
    assert ([weeks.time_at(i) for i in range(len(weeks))], weeks.volume.tolist()) == ([MONDAY], [120.0])


def test_bars_in_which_a_session_ends_and_the_next_begins_make_no_days_but_weeks() -> None:
    sunday = MONDAY - 4 * HOUR
    bars = bars_every(4 * HOUR, sunday, sunday + 5 * DAY)
    with pytest.raises(
        InvalidInput, match="timeframe: 4h bars cannot make 1d bars of a market whose sessions turn"
    ):
        made(bars, H4, D1, CurrencyWeek())
    assert made(bars, H4, W1, CurrencyWeek()).volume.tolist() == [30.0]


@pytest.mark.parametrize(("source", "target"), [(M1, H1), (M1, H4), (D1, W1)])
def test_sessions_count_for_days_and_weeks_of_intraday_bars_alone(source: Timeframe, target: Timeframe) -> None:
    bars = bars_every(source.length, MONDAY, MONDAY + 20 * source.length)
    assert sessions_of(bars, source, target, Sydney()) is None
    assert sessions_of(bars, M1, D1, RoundTheClock()) is None


# --- days and weeks of which only a part is there ---


def whole(bars: Bars, target: Timeframe, calendar: TradingCalendar) -> list[datetime]:
    coarse = made(bars, M1, target, calendar)
    kept = without_cut_ends(coarse, bars, M1, target, calendar)
    return [kept.time_at(i) for i in range(len(kept))]


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        (timedelta(0), timedelta(0), [1, 2, 3]),
        (MINUTE, timedelta(0), [2, 3]),
        (HOUR, timedelta(0), [2, 3]),  # all that is missing lies on the UTC day before the session's date
        (timedelta(0), MINUTE, [1, 2]),
    ],
)
def test_a_session_of_which_a_minute_is_missing_at_an_end_is_left_out(
    first: timedelta, last: timedelta, days: list[int]
) -> None:
    """From Monday's opening to the close of Wednesday, a half day."""
    bars = bars_every(MINUTE, MONDAY - HOUR + first, MONDAY + 2 * DAY + 3 * HOUR - last)
    assert whole(bars, D1, Sydney()) == [datetime(2024, 4, day, tzinfo=UTC) for day in days]


def test_a_week_is_whole_from_the_opening_of_its_first_session_to_the_close_of_its_last() -> None:
    opening, close = MONDAY - HOUR, MONDAY + 4 * DAY + 5 * HOUR
    assert whole(bars_every(MINUTE, opening, close), W1, Sydney()) == [MONDAY]
    assert whole(bars_every(MINUTE, opening + MINUTE, close), W1, Sydney()) == []
    assert whole(bars_every(MINUTE, opening, close - MINUTE), W1, Sydney()) == []


# --- the day that is forming ---


def forming(bars: Bars, now: datetime, target: Timeframe = D1) -> tuple[datetime, float, float] | None:
    found = made_of_finer(bars, M1, target, now, sessions_of(bars, M1, target, Sydney()))
    return None if found is None else (found.bar.time_at(0), float(found.bar.open[0]), float(found.bar.volume[0]))


TUESDAY = MONDAY + DAY
TWO_DAYS = bars_every(MINUTE, MONDAY - 2 * HOUR, TUESDAY + 6 * HOUR)  # around the clock, also between sessions


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (TUESDAY + HOUR, (TUESDAY, 10.0 + 25 * 60, 120.0)),  # with the hour before midnight
        (TUESDAY + 5.5 * HOUR, (TUESDAY, 10.0 + 25 * 60, 360.0)),  # without what came after the close
        (TUESDAY - HOUR / 2, (MONDAY, 10.0 + 60, 360.0)),  # by the clock Monday is not over yet
    ],
)
def test_a_forming_day_is_made_of_its_session(now: datetime, expected: tuple[datetime, float, float]) -> None:
    assert forming(TWO_DAYS, now) == expected


def test_a_forming_week_begins_with_its_first_session() -> None:
    assert forming(TWO_DAYS, TUESDAY, W1) == (MONDAY, 10.0 + 60, 420.0)


def test_no_forming_day_is_made_of_a_part_of_its_session() -> None:
    assert forming(TWO_DAYS.since(TUESDAY - HOUR + MINUTE), TUESDAY + HOUR) is None
    assert forming(TWO_DAYS.since(TUESDAY - HOUR), TUESDAY + HOUR) is not None


# --- the calendars of the library, and real bars ---


@pytest.mark.parametrize(
    ("name", "opens", "closes"),
    [
        ("XASX", MONDAY + DAY - HOUR, MONDAY + DAY + 5 * HOUR),  # the Monday is Easter
        ("CMES", MONDAY - 2 * HOUR, MONDAY + 22 * HOUR),
        ("XNYS", MONDAY + 13.5 * HOUR, MONDAY + 20 * HOUR),
    ],
)
async def test_the_first_session_of_a_week_is_one_day(name: str, opens: datetime, closes: datetime) -> None:
    calendar = await ExchangeCalendars().trading_calendar(name)
    bars = bars_every(30 * MINUTE, MONDAY - DAY, MONDAY + 7 * DAY)
    days = made(bars, M30, D1, calendar)
    require_equal(days, by_hand(rows_of(bars), M30, D1, calendar))
    assert days.volume[0] == (closes - opens) / (30 * MINUTE)


def read(file: str) -> list[Row]:
    def of(row: dict[str, str]) -> Row:
        prices = [float(row[name] or "nan") for name in COLUMNS]
        return (datetime.fromisoformat(row["timestamp"]), *prices)  # type: ignore[return-value]

    with (SHARED / file).open(newline="") as lines:
        return [of(row) for row in csv.DictReader(lines)]


@pytest.mark.skipif(not SHARED.exists(), reason="the shared market data are not on this machine")
@pytest.mark.parametrize(
    ("file", "source", "symbol"),
    [("equity/1m/SPY_2013-10.csv", M1, "XNYS"), ("fx/1h/EURUSD_2017_2018.csv", H1, "24/5")],
)
@pytest.mark.parametrize("target", [D1, W1])
async def test_real_bars_equal_an_independent_computation(
    file: str, source: Timeframe, symbol: str, target: Timeframe
) -> None:
    calendar = await ExchangeCalendars().trading_calendar(symbol)
    require_equal(
        made(read_bars(SHARED / file), source, target, calendar), by_hand(read(file), source, target, calendar)
    )


@pytest.mark.skipif(not SHARED.exists(), reason="the shared market data are not on this machine")
async def test_days_made_of_real_minutes_are_the_days_that_another_source_has() -> None:
    calendar = await ExchangeCalendars().trading_calendar("XNYS")
    days = made(read_bars(SHARED / "equity/1m/SPY_2013-10.csv"), M1, D1, calendar)
    known = {row[0]: row for row in read("equity/1d/SPY.csv")}
    for i in range(len(days)):
        own = [float(days.column(name)[i]) for name in ("open", "high", "low", "close")]
        known_day = known[days.time_at(i).replace(tzinfo=None)]
        np.testing.assert_allclose(own, known_day[1:5], atol=0.02)
