from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from atf.errors import InvalidInput
from atf.market.bars import Bars, Timeframe
from atf.market.importing import importable, usual_timeframe
from atf.market.quality import Flaw

NEW_YORK = ZoneInfo("America/New_York")
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
