from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from atf.market.bars import Bars, Timeframe
from atf.market.continuous_calendars import RoundTheClock
from atf.market.resampling import resampled
from atf.market.trading_calendar import Session, TradingCalendar
from atf.market.whole_bars import without_cut_ends

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)


class Mornings:
    """A market that trades from 14:30Z to 16:00Z, on Tuesdays to Fridays of a week whose Monday is a holiday."""

    name = "MORNINGS"
    zone = ZoneInfo("UTC")

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        days = (MONDAY + n * DAY for n in range(1, 5))
        return tuple(
            Session(day.date(), day + 14.5 * HOUR, day + 16 * HOUR) for day in days if first <= day.date() <= last
        )


def bars_at(first: datetime, step: timedelta, count: int) -> Bars:
    return Bars.from_rows([(first + i * step, 10.0, 11.0, 9.0, 10.5, 1.0) for i in range(count)])


def opens_of(
    fine: Bars, source: Timeframe, target: Timeframe, calendar: TradingCalendar, until: datetime | None = None
) -> list[datetime]:
    coarse = resampled(fine, source, target)
    whole = without_cut_ends(coarse, fine, source, target, calendar, complete_until=until)
    return [whole.time_at(i) for i in range(len(whole))]


def test_hours_of_which_only_a_part_is_there_are_left_out_at_both_ends() -> None:
    fine = bars_at(MONDAY + 37 * MINUTE, MINUTE, 155)  # 00:37 to 03:11
    assert opens_of(fine, Timeframe.M1, Timeframe.H1, RoundTheClock()) == [MONDAY + HOUR, MONDAY + 2 * HOUR]


def test_hours_that_are_there_in_full_stay() -> None:
    fine = bars_at(MONDAY, MINUTE, 120)
    assert opens_of(fine, Timeframe.M1, Timeframe.H1, RoundTheClock()) == [MONDAY, MONDAY + HOUR]


def test_an_end_up_to_which_the_source_was_asked_is_no_cut() -> None:
    fine = bars_at(MONDAY, MINUTE, 110)
    opens = opens_of(fine, Timeframe.M1, Timeframe.H1, RoundTheClock(), until=MONDAY + 2 * HOUR)
    assert opens == [MONDAY, MONDAY + HOUR]


def test_the_hours_of_a_session_are_whole_though_the_market_trades_half_of_them() -> None:
    fine = bars_at(MONDAY + DAY + 14.5 * HOUR, MINUTE, 90)
    opens = opens_of(fine, Timeframe.M1, Timeframe.H1, Mornings())
    assert opens == [MONDAY + DAY + 14 * HOUR, MONDAY + DAY + 15 * HOUR]


@pytest.mark.parametrize(("first", "count", "is_whole"), [(1, 4, True), (2, 3, False), (1, 3, False)])
def test_a_week_with_a_holiday_is_whole_with_its_sessions(first: int, count: int, is_whole: bool) -> None:
    fine = bars_at(MONDAY + first * DAY, DAY, count)
    opens = opens_of(fine, Timeframe.D1, Timeframe.W1, Mornings())
    assert opens == ([MONDAY] if is_whole else [])


def test_no_bars_are_whole_as_they_are() -> None:
    assert opens_of(Bars.empty(), Timeframe.M1, Timeframe.H1, RoundTheClock()) == []
