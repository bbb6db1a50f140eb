import csv
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.adapters.providers.bar_files import read_bars
from atf.errors import InvalidInput
from atf.market.bars import COLUMNS, Bars, Timeframe
from atf.market.resampling import resampled

SHARED = Path(__file__).parents[3] / "../shared/data/ohlcv"
MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
Row = tuple[datetime, float, float, float, float, float]


def rows_of(bars: Bars) -> list[Row]:
    return [(bars.time_at(i), *(float(bars.column(name)[i]) for name in COLUMNS)) for i in range(len(bars))]  # type: ignore[misc]


def opening(instant: datetime, timeframe: Timeframe) -> datetime:
    """The calendar's way, without arithmetic on nanoseconds."""
    midnight = instant.replace(hour=0, minute=0, second=0, microsecond=0)
    match timeframe:
        case Timeframe.W1:
            return midnight - timedelta(days=instant.weekday())
        case Timeframe.D1:
            return midnight
        case _:
            length = timeframe.length
            return midnight + (instant - midnight) // length * length


def one_by_one(rows: Iterable[Row], timeframe: Timeframe) -> list[Row]:
    """What a person would do with a pencil."""
    groups: dict[datetime, list[Row]] = {}
    for row in rows:
        groups.setdefault(opening(row[0], timeframe), []).append(row)
    return [(at, *_merged(group)) for at, group in groups.items()]


def _merged(group: list[Row]) -> tuple[float, float, float, float, float]:
    columns: list[tuple[float, ...]] = list(zip(*(row[1:] for row in group), strict=True))
    opens, highs, lows, closes, volumes = ([one for one in column if not isnan(one)] for column in columns)
    return (
        opens[0] if opens else nan,
        max(highs, default=nan),
        min(lows, default=nan),
        closes[-1] if closes else nan,
        sum(volumes) if volumes else nan,
    )


def require_equal(found: Bars, expected: list[Row]) -> None:
    assert [row[0] for row in rows_of(found)] == [row[0] for row in expected]
    columns = np.array([row[1:] for row in expected], dtype=np.float64).reshape(len(expected), len(COLUMNS))
    for i, name in enumerate(COLUMNS):
        np.testing.assert_allclose(found.column(name), columns[:, i], rtol=1e-12, err_msg=name)


values = st.one_of(st.just(nan), st.floats(1, 1000))
minutes = st.lists(
    st.tuples(st.integers(0, 3 * 7 * 24 * 60), values, values, values, values, values),
    unique_by=lambda row: row[0],
    max_size=60,
)


@given(minutes, st.sampled_from([one for one in Timeframe if one is not Timeframe.M1]))
def test_any_minutes_make_what_a_person_would_make_of_them(
    found: list[tuple[int, float, float, float, float, float]], target: Timeframe
) -> None:
    rows = sorted((MONDAY + timedelta(minutes=minute), *prices) for minute, *prices in found)
    bars = Bars.from_rows(rows)  # type: ignore[arg-type]
    require_equal(resampled(bars, Timeframe.M1, target), one_by_one(rows_of(bars), target))


def test_a_week_begins_on_monday() -> None:
    days = [(MONDAY + timedelta(days=n), 1.0, 2.0, 0.5, 1.0 + n, 10.0) for n in range(-1, 8)]
    weeks = resampled(Bars.from_rows(days), Timeframe.D1, Timeframe.W1)
    assert [weeks.time_at(i) for i in range(3)] == [MONDAY + timedelta(weeks=n) for n in (-1, 0, 1)]
    assert weeks.volume.tolist() == [10.0, 70.0, 10.0]


def test_the_same_timeframe_and_no_bars_are_left_as_they_are() -> None:
    bars = Bars.from_rows([(MONDAY, 1, 1, 1, 1, 1)])
    assert resampled(bars, Timeframe.D1, Timeframe.D1) is bars
    assert len(resampled(Bars.empty(), Timeframe.M1, Timeframe.D1)) == 0


@pytest.mark.parametrize(
    ("source", "target"),
    [(Timeframe.H1, Timeframe.M30), (Timeframe.D1, Timeframe.H4), (Timeframe.W1, Timeframe.D1)],
)
def test_finer_bars_cannot_be_made(source: Timeframe, target: Timeframe) -> None:
    with pytest.raises(InvalidInput, match=f"timeframe: {source} bars cannot make {target} bars"):
        resampled(Bars.from_rows([(MONDAY, 1, 1, 1, 1, 1)]), source, target)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared market data are not on this machine")
@pytest.mark.parametrize("target", [Timeframe.M5, Timeframe.H1])
@pytest.mark.parametrize("file", ["crypto/1m/BTC_USD_coinbase_2018-04-04_06.csv", "equity/1m/SPY_2013-10.csv"])
def test_real_minutes_equal_an_independent_computation(file: str, target: Timeframe) -> None:
    with (SHARED / file).open(newline="") as lines:
        rows = [
            (datetime.fromisoformat(row["timestamp"]), *(float(row[name] or "nan") for name in COLUMNS))
            for row in csv.DictReader(lines)
        ]
    require_equal(
        resampled(read_bars(SHARED / file), Timeframe.M1, target),
        one_by_one(rows, target),  # type: ignore[arg-type]
    )
