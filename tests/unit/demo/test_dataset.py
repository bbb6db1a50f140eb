import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import atf.demo
from atf.demo.dataset import load_dataset
from atf.market.bars import COLUMNS, Bars, Series, Timeframe

FILE = Path(atf.demo.__file__).parent / "data/us_daily_2000_2013.csv.gz"


@pytest.fixture(scope="module")
def dataset() -> dict[Series, Bars]:
    return load_dataset()


def daily(dataset: dict[Series, Bars], symbol: str) -> Bars:
    return dataset[Series(symbol, Timeframe.D1)]


def row(bars: Bars, index: int) -> tuple[object, ...]:
    return (bars.time_at(index), *(float(bars.column(name)[index]) for name in COLUMNS))


def test_every_symbol_has_the_count_that_its_source_states(dataset: dict[Series, Bars]) -> None:
    counts = {str(series): len(bars) for series, bars in dataset.items()}
    assert counts == {"AAPL 1d": 3270, "FB 1d": 196, "GOOG 1d": 2148, "IBM 1d": 3270, "MSFT 1d": 3270}


def test_times_rise_strictly_and_are_midnight_utc(dataset: dict[Series, Bars]) -> None:
    a_day = 86_400 * 10**9
    for bars in dataset.values():
        assert (np.diff(bars.open_time) > 0).all()
        assert (bars.open_time % a_day == 0).all()


def test_no_session_falls_on_a_weekend(dataset: dict[Series, Bars]) -> None:
    for bars in dataset.values():
        assert all(bars.time_at(i).weekday() < 5 for i in range(len(bars)))


def test_open_and_close_lie_between_low_and_high_without_exception(dataset: dict[Series, Bars]) -> None:
    for bars in dataset.values():
        assert (bars.low > 0).all()
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert (bars.high >= np.maximum(bars.open, bars.close)).all()


def test_no_value_is_missing_and_every_session_was_traded(dataset: dict[Series, Bars]) -> None:
    for bars in dataset.values():
        assert all(np.isfinite(bars.column(name)).all() for name in COLUMNS)
        assert (bars.volume > 0).all()


def test_first_and_last_rows_are_those_of_the_source(dataset: dict[Series, Bars]) -> None:
    first = (datetime(2000, 3, 1, tzinfo=UTC), 118.56, 132.06, 118.5, 130.31, 9_616_100.0)
    last = (datetime(2013, 3, 1, tzinfo=UTC), 27.72, 27.98, 27.52, 27.95, 34_849_700.0)
    assert row(daily(dataset, "AAPL"), 0) == first
    assert row(daily(dataset, "MSFT"), -1) == last


def test_a_split_is_a_jump_because_prices_are_unadjusted(dataset: dict[Series, Bars]) -> None:
    apple = daily(dataset, "AAPL")
    split = apple.first_after(datetime(2000, 6, 20, tzinfo=UTC))
    assert apple.close[split - 1] == 101.25
    assert apple.close[split] == 55.63


def test_the_file_is_sorted_and_says_nothing_about_when_it_was_made() -> None:
    with gzip.open(FILE, "rt", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["symbol", "date", *COLUMNS]
    assert rows[1:] == sorted(rows[1:])
    assert FILE.read_bytes()[4:8] == bytes(4)
