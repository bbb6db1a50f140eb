import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.market.bar_store import NOTHING, PutAside
from atf.market.bars import COLUMNS, Bars, Series, Timeframe, to_instant, to_nanoseconds
from atf.market.quality import Flaw

MIDNIGHT = datetime(2024, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)

Row = tuple[datetime, float, float, float, float, float]


def row(hours: float, close: float = 1.0) -> Row:
    return (MIDNIGHT + hours * HOUR, 1.0, 2.0, 0.5, close, 100.0)


def opens(bars: Bars) -> list[datetime]:
    return [bars.time_at(i) for i in range(len(bars))]


def test_rows_in_any_order_become_bars_oldest_first() -> None:
    bars = Bars.from_rows([row(2, 12.0), row(0, 10.0), row(1, 11.0)])
    assert opens(bars) == [MIDNIGHT, MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR]
    assert bars.close.tolist() == [10.0, 11.0, 12.0]


def test_equal_times_are_one_bar_the_last_one_given() -> None:
    bars = Bars.from_rows([row(1, 1.0), row(0, 5.0), row(1, 2.0), row(1, 3.0)])
    assert bars.close.tolist() == [5.0, 3.0]


def test_the_same_instant_in_two_zones_is_one_bar() -> None:
    there = MIDNIGHT.astimezone(timezone(timedelta(hours=-5)))
    bars = Bars.from_rows([(MIDNIGHT, 1, 1, 1, 1, 1), (there, 2, 2, 2, 2, 2)])
    assert opens(bars) == [MIDNIGHT]
    assert bars.close.tolist() == [2.0]


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf])
def test_none_and_not_finite_values_become_nan(missing: float | None) -> None:
    bars = Bars.from_rows([(MIDNIGHT, 1.0, 2.0, 0.5, missing, 100.0)])  # type: ignore[list-item]
    assert math.isnan(bars.close[0])
    assert [bars.column(name)[0] for name in ("open", "high", "low", "volume")] == [1.0, 2.0, 0.5, 100.0]


def test_no_rows_are_empty_bars_of_the_right_kind() -> None:
    for bars in (Bars.from_rows([]), Bars.empty()):
        assert len(bars) == 0
        assert bars.open_time.dtype == np.int64
        assert all(bars.column(name).dtype == np.float64 for name in COLUMNS)
        assert len(bars.closed_at(MIDNIGHT, Timeframe.H1)) == 0
        assert bars.first_after(MIDNIGHT) == 0


def test_columns_are_found_by_their_names_and_nothing_else() -> None:
    bars = Bars.from_rows([(MIDNIGHT, 1.0, 2.0, 3.0, 4.0, 5.0)])
    assert [float(bars.column(name)[0]) for name in COLUMNS] == [1.0, 2.0, 3.0, 4.0, 5.0]
    with pytest.raises(KeyError):
        bars.column("open_time")


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_a_bar_is_closed_from_the_instant_its_timeframe_is_over(timeframe: Timeframe) -> None:
    bars = Bars.from_rows([row(0)])
    end = MIDNIGHT + timeframe.length
    assert len(bars.closed_at(end, timeframe)) == 1
    assert len(bars.closed_at(end - timedelta(microseconds=1), timeframe)) == 0


def test_closed_bars_are_all_but_the_forming_one() -> None:
    bars = Bars.from_rows([row(0), row(1), row(2)])
    assert opens(bars.closed_at(MIDNIGHT + 2.5 * HOUR, Timeframe.H1)) == [MIDNIGHT, MIDNIGHT + HOUR]
    assert len(bars.closed_at(MIDNIGHT - HOUR, Timeframe.H1)) == 0
    assert len(bars.closed_at(MIDNIGHT + 99 * HOUR, Timeframe.H1)) == 3


def test_first_after_is_strictly_after() -> None:
    bars = Bars.from_rows([row(0), row(1), row(3)])
    assert bars.first_after(MIDNIGHT - HOUR) == 0
    assert bars.first_after(MIDNIGHT) == 1
    assert bars.first_after(MIDNIGHT + 2 * HOUR) == 2
    assert bars.first_after(MIDNIGHT + 3 * HOUR) == len(bars)


def test_last_gives_the_newest_or_all_if_there_are_fewer() -> None:
    bars = Bars.from_rows([row(i, float(i)) for i in range(4)])
    assert bars.last(2).close.tolist() == [2.0, 3.0]
    assert len(bars.last(9)) == 4
    assert len(bars.last(0)) == 0


@pytest.mark.parametrize("part", [slice(None), slice(1, 3), slice(-1, None), slice(0, 0)])
def test_bars_and_their_slices_are_read_only(part: slice) -> None:
    bars = Bars.from_rows([row(i) for i in range(4)])[part]
    for array in (bars.open_time, *(bars.column(name) for name in COLUMNS)):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_a_slice_keeps_all_columns_together() -> None:
    bars = Bars.from_rows([(MIDNIGHT + i * HOUR, i, i + 0.1, i + 0.2, i + 0.3, i + 0.4) for i in range(4)])
    middle = bars[1:3]
    assert opens(middle) == [MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR]
    values = [[float(middle.column(name)[i]) for name in COLUMNS] for i in range(2)]
    assert values == [[1.0, 1.1, 1.2, 1.3, 1.4], [2.0, 2.1, 2.2, 2.3, 2.4]]


def test_bars_do_not_follow_later_changes_of_what_they_were_made_of() -> None:
    values = np.ones((2, 5))
    bars = Bars.from_columns(np.array([0, 1], dtype=np.int64), values)
    values[:] = 7.0
    assert bars.close.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("instant", "nanoseconds"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1_000),
        (datetime(1929, 10, 29, tzinfo=UTC), -1_267_833_600 * 10**9),
        (datetime(2262, 4, 11, 23, 47, 16, 854_775, tzinfo=UTC), 9_223_372_036_854_775_000),
    ],
)
def test_instants_far_from_1970_survive_the_round_trip(instant: datetime, nanoseconds: int) -> None:
    assert to_nanoseconds(instant) == nanoseconds
    assert to_instant(nanoseconds) == instant


@given(st.datetimes(datetime(1700, 1, 1), datetime(2262, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_nanoseconds_are_exact_to_the_microsecond(instant: datetime) -> None:
    assert to_instant(to_nanoseconds(instant)) == instant


def test_nanoseconds_are_cut_downwards_before_1970_too() -> None:
    assert to_instant(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert to_instant(1_999) == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)


def test_series_are_equal_ordered_and_readable() -> None:
    assert Series("A", Timeframe.H1) == Series("A", Timeframe("1h"))
    assert min(Series("B", Timeframe.M1), Series("A", Timeframe.W1)).symbol == "A"
    assert str(Series("BTC/USDT", Timeframe.M5)) == "BTC/USDT 5m"


@given(st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12)))
def test_joined_bars_are_those_of_both_and_the_others_count(own: set[int], others: set[int]) -> None:
    def at(days: set[int], close: float) -> Bars:
        return Bars.from_rows([(datetime(2024, 1, 1 + n, tzinfo=UTC), 1.0, 2.0, 0.5, close, 1.0) for n in days])

    joined = at(own, 1.0).joined_with(at(others, 2.0))
    assert [joined.time_at(n).day - 1 for n in range(len(joined))] == sorted(own | others)
    assert joined.close.tolist() == [2.0 if day in others else 1.0 for day in sorted(own | others)]


def bars_at(hours: list[int], close: float) -> Bars:
    return Bars.from_rows([row(hour, close) for hour in hours])


def test_many_runs_in_a_row_are_what_following_one_by_one_gives() -> None:
    runs = [
        bars_at([0, 1, 2], 1.0),
        bars_at([], 0.0),
        bars_at([2, 3], 2.0),
        bars_at([3], 3.0),
        bars_at([5, 6], 4.0),
    ]
    one_by_one = Bars.empty()
    for run in runs:
        one_by_one = one_by_one.followed_by(run)
    found = Bars.in_a_row(runs)
    assert (
        found.open_time.tolist()
        == one_by_one.open_time.tolist()
        == bars_at([0, 1, 2, 3, 5, 6], 0.5).open_time.tolist()
    )
    assert found.close.tolist() == one_by_one.close.tolist() == [1, 1, 2, 3, 4, 4]
    assert len(Bars.in_a_row([])) == len(Bars.in_a_row([Bars.empty()])) == 0
    assert Bars.in_a_row([Bars.empty(), runs[0]]) is runs[0]


def test_what_is_put_aside_keeps_its_reason_when_parts_are_joined() -> None:
    future, late = (
        PutAside(bars_at([9], 1.0), (Flaw.FUTURE,)),
        PutAside(bars_at([2, 9], 2.0), (Flaw.NO_PRICE, Flaw.NO_PRICE)),
    )
    joined = PutAside.joined([future, NOTHING, late])
    assert joined.bars.open_time.tolist() == bars_at([2, 9], 0.5).open_time.tolist()
    assert joined.reasons == (Flaw.NO_PRICE, Flaw.NO_PRICE)
    assert PutAside.joined([late, future]).reasons == (Flaw.NO_PRICE, Flaw.FUTURE)
    assert len(PutAside.joined([])) == 0
