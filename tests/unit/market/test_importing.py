from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from atf.errors import InvalidInput
from atf.market.bars import Bars, Timeframe
from atf.market.continuous_calendars import CurrencyWeek
from atf.market.importing import importable, usual_timeframe
from atf.market.quality import Flaw
from atf.market.session_dates import WeekendDate
from atf.market.trading_calendar import Session


class Weekdays:
    """An exchange that trades on every weekday, from half past nine to four."""

    name = "WEEKDAYS"

    def __init__(self, zone: str) -> None:
        self.zone = ZoneInfo(zone)

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return tuple(Session(day, *self._hours(day)) for day in days if day.weekday() < 5)

    def _hours(self, day: date) -> tuple[datetime, datetime]:
        opens, closes = (datetime.combine(day, at, self.zone) for at in (time(9, 30), time(16)))
        return opens.astimezone(UTC), closes.astimezone(UTC)


NEW_YORK = Weekdays("America/New_York")
FIRST = datetime(2024, 1, 2, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def bars_every(step: timedelta, count: int = 5, first: datetime = FIRST) -> Bars:
    return Bars.from_rows([(first + i * step, 10.0, 11.0, 9.0, 10.5, 1.0) for i in range(count)])


def test_bars_of_the_right_timeframe_are_kept_as_they_are() -> None:
    good, aside = importable(bars_every(timedelta(hours=1)), Timeframe.H1, NEW_YORK, NOW)
    assert (len(good), len(aside)) == (5, 0)


@pytest.mark.parametrize("step", [timedelta(minutes=5), timedelta(days=1)])
def test_bars_of_another_timeframe_are_refused_with_the_right_one(step: timedelta) -> None:
    with pytest.raises(InvalidInput, match=r"timeframe: the bars are (5m|1d) apart, not 1h: give --timeframe"):
        importable(bars_every(step), Timeframe.H1, NEW_YORK, NOW)


@pytest.mark.parametrize("timeframe", [Timeframe.D1, Timeframe.M15])
def test_bars_much_closer_together_than_their_timeframe_are_refused(timeframe: Timeframe) -> None:
    with pytest.raises(InvalidInput, match=r"timeframe: the bars are 0:07:00 apart, not (1d|15m)"):
        importable(bars_every(timedelta(minutes=7)), timeframe, NEW_YORK, NOW)


def test_the_usual_distance_tells_the_timeframe_in_spite_of_gaps() -> None:
    opens = [0, 1, 2, 5, 6, 30, 31]
    bars = Bars.from_rows([(FIRST + timedelta(minutes=m), 1.0, 1.0, 1.0, 1.0, 1.0) for m in opens])
    assert usual_timeframe(bars) is Timeframe.M1


def test_a_single_bar_has_no_usual_distance() -> None:
    assert usual_timeframe(bars_every(timedelta(days=1), count=1)) is None


def test_daily_bars_by_the_clock_of_an_exchange_move_to_midnight_utc_of_its_date() -> None:
    at_midnight_there = datetime(2024, 1, 2, 5, tzinfo=UTC)
    good, _ = importable(bars_every(timedelta(days=1), first=at_midnight_there), Timeframe.D1, NEW_YORK, NOW)
    assert [good.time_at(i) for i in (0, 4)] == [FIRST, FIRST + timedelta(days=4)]


def test_daily_bars_keep_their_dates_over_a_change_of_the_clock() -> None:
    opens = [datetime(2024, 3, 8, 5, tzinfo=UTC), datetime(2024, 3, 11, 4, tzinfo=UTC)]
    bars = Bars.from_rows([(at, 10.0, 11.0, 9.0, 10.5, 1.0) for at in opens])
    good, _ = importable(bars, Timeframe.D1, NEW_YORK, NOW)
    assert [good.time_at(i).date().isoformat() for i in range(2)] == ["2024-03-08", "2024-03-11"]


def test_dates_stay_where_they_are_though_another_bar_has_a_time_of_day() -> None:
    opens = [FIRST, FIRST + timedelta(days=1), datetime(2024, 1, 4, 21, tzinfo=UTC)]
    bars = Bars.from_rows([(at, 10.0, 11.0, 9.0, 10.5, 1.0) for at in opens])
    good, _ = importable(bars, Timeframe.D1, NEW_YORK, NOW)
    assert [good.time_at(i).date().isoformat() for i in range(3)] == ["2024-01-02", "2024-01-03", "2024-01-04"]


def test_a_bar_from_the_future_is_put_aside_and_the_forming_one_left_out() -> None:
    now = FIRST + timedelta(hours=2, minutes=30)
    good, aside = importable(bars_every(timedelta(hours=1)), Timeframe.H1, NEW_YORK, now)
    assert good.time_at(-1) == FIRST + timedelta(hours=1)
    assert [aside.bars.time_at(i) for i in (0, 1)] == [FIRST + timedelta(hours=h) for h in (3, 4)]
    assert aside.reasons == (Flaw.FUTURE, Flaw.FUTURE)


def test_an_impossible_bar_is_put_aside_with_its_reason() -> None:
    rows = [(FIRST + timedelta(hours=i), 10.0, 11.0, 9.0, 10.5, 1.0) for i in range(4)]
    rows[2] = (FIRST + timedelta(hours=2), 10.0, 8.0, 9.0, 10.5, 1.0)
    good, aside = importable(Bars.from_rows(rows), Timeframe.H1, NEW_YORK, NOW)
    assert (len(good), aside.reasons) == (3, (Flaw.HIGH_BELOW_LOW,))


def dated(*days: str) -> Bars:
    return Bars.from_rows(
        [(datetime.fromisoformat(day).replace(tzinfo=UTC), 10.0, 11.0, 9.0, 10.5, 1.0) for day in days]
    )


def kept(bars: Bars, timeframe: Timeframe, **how: Any) -> tuple[list[str], int]:
    good, aside = importable(bars, timeframe, NEW_YORK, NOW, **how)
    return [good.time_at(i).date().isoformat() for i in range(len(good))], len(aside)


def test_a_day_of_which_the_session_cannot_be_told_is_put_aside_as_before() -> None:
    before_it_opens = dated(*(f"2024-01-0{day}T12:00" for day in (2, 3, 4, 5)))
    good, aside = importable(before_it_opens, Timeframe.D1, NEW_YORK, NOW)
    assert (len(good), set(aside.reasons)) == (0, {Flaw.MISALIGNED})


def test_of_two_bars_of_one_session_the_later_one_counts() -> None:
    bars = Bars.from_rows(
        [(FIRST, 1.0, 1.0, 1.0, 1.0, 1.0), (FIRST + timedelta(hours=20), 2.0, 2.0, 2.0, 2.0, 2.0)]
    )
    good, _ = importable(bars, Timeframe.D1, NEW_YORK, NOW)
    assert (good.open_time.tolist(), good.close.tolist()) == (bars.open_time[:1].tolist(), [2.0])


def test_what_is_put_aside_between_two_bars_of_one_session_does_not_keep_them_apart() -> None:
    sydney = Weekdays("Australia/Sydney")
    midnight, night, opening = (datetime(2024, 1, 1, 13, tzinfo=UTC) + timedelta(hours=h) for h in (0, 7, 9.5))
    others = [opening + timedelta(days=n) for n in range(1, 30)]
    weekdays = [at for at in others if (at + timedelta(hours=2)).weekday() < 5]
    bars = Bars.from_rows([(at, 1.0, 1.0, 1.0, 1.0, 1.0) for at in (midnight, night, opening, *weekdays)])
    good, aside = importable(bars, Timeframe.D1, sydney, NOW)
    assert [aside.bars.time_at(i) for i in range(len(aside))] == [night]
    assert [good.time_at(i).day for i in range(3)] == [2, 3, 4]
    assert len(good) == 1 + len(weekdays)


@pytest.mark.parametrize("first", [1, 2, 3, 4, 5])
def test_weeks_dated_on_one_working_day_are_those_in_which_it_lies(first: int) -> None:
    weeks = [f"2024-01-{first + 7 * n:02}" for n in range(4)]
    assert kept(dated(*weeks), Timeframe.W1) == (["2024-01-01", "2024-01-08", "2024-01-15", "2024-01-22"], 0)


def test_weeks_dated_by_their_last_session_need_not_all_be_fridays() -> None:
    fridays_but_one = dated("2024-03-22", "2024-03-28", "2024-04-05")  # the 29th was Good Friday
    assert kept(fridays_but_one, Timeframe.W1) == (["2024-03-18", "2024-03-25", "2024-04-01"], 0)


def test_a_second_date_in_a_week_is_put_aside() -> None:
    with_today = dated("2024-01-01", "2024-01-08", "2024-01-15", "2024-01-18")
    assert kept(with_today, Timeframe.W1) == (["2024-01-01", "2024-01-08", "2024-01-15"], 1)


def test_weeks_dated_on_weekends_are_refused_unless_it_is_said_what_that_means() -> None:
    for days, name in ((("2024-01-07", "2024-01-14"), "Sunday"), (("2024-01-06", "2024-01-13"), "Saturday")):
        with pytest.raises(
            InvalidInput, match=f"--weekend-date: is needed for weeks that are dated {name}: opens"
        ):
            importable(dated(*days), Timeframe.W1, NEW_YORK, NOW)
        opens = kept(dated(*days), Timeframe.W1, weekend=WeekendDate.OPENS)
        ends = kept(dated(*days), Timeframe.W1, weekend=WeekendDate.ENDS)
        assert (opens, ends) == ((["2024-01-08", "2024-01-15"], 0), (["2024-01-01", "2024-01-08"], 0))


def test_a_single_weekend_among_weeks_is_put_aside() -> None:
    assert kept(dated("2024-01-01", "2024-01-08", "2024-01-21"), Timeframe.W1) == (
        ["2024-01-01", "2024-01-08"],
        1,
    )


def test_weeks_with_a_time_of_day_go_by_their_sessions_date() -> None:
    closes = dated("2024-01-05T21:00", "2024-01-12T21:00")
    assert kept(closes, Timeframe.W1) == (["2024-01-01", "2024-01-08"], 0)
    euro, _ = importable(dated("2024-01-07T22:00", "2024-01-14T22:00"), Timeframe.W1, CurrencyWeek(), NOW)
    assert [euro.time_at(i).date().isoformat() for i in range(2)] == ["2024-01-08", "2024-01-15"]
