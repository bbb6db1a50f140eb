"""Files of adjustment factors, and what they do to real prices."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np
import pytest

from atf.adapters.providers.bar_files import read_bars
from atf.adapters.providers.factor_files import read_factors
from atf.errors import InvalidInput
from atf.market.adjustment import AdjustmentFactor, adjusted, split_days

SHARED = Path(__file__).parents[4] / "../shared/data/ohlcv/equity"


def written(folder: Path, text: str) -> Path:
    path = folder / "AAPL.csv"
    path.write_text(text, "utf-8")
    return path


def test_factors_are_read_oldest_first_whatever_else_is_in_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "date,price_factor,split_factor,reference_price\n2024-05-01,1,1,0\n2020-08-28,0.98,0.25,499.2\n",
    )
    assert read_factors(path) == (
        AdjustmentFactor(date(2020, 8, 28), 0.98, 0.25),
        AdjustmentFactor(date(2024, 5, 1), 1.0, 1.0),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no column date and no column price_factor and no column split_factor; needed are"),
        ("date,price_factor\n", "has no column split_factor; needed are date, price_factor, split_factor"),
        ("date,price_factor,split_factor\n1.2.2024,1,1\n", "line 2, column 'date': '1.2.2024' is not a date"),
        (
            "date,price_factor,split_factor\n2024-01-02,x,1\n",
            "line 2, column 'price_factor': 'x' is not a number",
        ),
        ("date,price_factor,split_factor\n2024-01-02,1\n", "line 2, column 'split_factor': None is not a number"),
        ("date,price_factor,split_factor\n2024-01-02,1,0\n", "column 'split_factor': must be above 0, got 0.0"),
        ("date,price_factor,split_factor\n2024-01-02,nan,1\n", "column 'price_factor': must be above 0, got nan"),
        (
            "date,price_factor,split_factor\n2024-01-02,1,1\n2024-01-02,1,1\n",
            "line 3, column 'date': has 2024-01",
        ),
        ('date,price_factor,split_factor\n"2024', "not a CSV file"),
        (
            "date,price_factor,split_factor\n9999-12-31,1,1\n",
            "column 'date': 9999-12-31 is outside the years 1678",
        ),
    ],
)
def test_a_broken_file_is_refused_with_file_line_and_column(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_factors(written(tmp_path, text))
    assert str(refused.value).startswith(str(tmp_path / "AAPL.csv"))
    assert sentence in str(refused.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match=r"AAPL.csv: not UTF-8 text$"):
        read_factors(path)


@pytest.mark.skipif(not SHARED.exists(), reason="no shared market data beside the project")
@pytest.mark.parametrize("symbol", ["AAPL", "IBM"])
def test_adjusted_prices_of_a_real_stock_do_not_jump_at_its_splits(symbol: str) -> None:
    bars, factors = read_bars(SHARED / f"1d/{symbol}.csv"), read_factors(SHARED / f"factors/{symbol}.csv")
    whole = adjusted(bars, factors)
    days = [day for day in split_days(factors) if day < date(2021, 1, 1)]
    assert days
    for day in days:
        at = len(bars.before(datetime.combine(day, time(), UTC)))
        assert abs(bars.close[at] / bars.close[at - 1] - 1) > 0.4
        assert abs(whole.close[at] / whole.close[at - 1] - 1) < 0.15
    assert whole.close[-1] == pytest.approx(bars.close[-1], rel=0.01)
    assert np.isfinite(whole.close).all()
