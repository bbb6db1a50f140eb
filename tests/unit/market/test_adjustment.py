"""Splits and dividends."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import InvalidInput
from atf.market.adjustment import (
    AdjustmentFactor,
    CorporateAction,
    adjusted,
    dividends_after_splits,
    factors_from,
    split_days,
)
from atf.market.bars import Bars


def daily(*closes: float, first: int = 1) -> Bars:
    return Bars.from_rows(
        [
            (datetime(2024, 1, first + n, tzinfo=UTC), close, close + 1, close - 1, close, 1000.0)
            for n, close in enumerate(closes)
        ]
    )


def test_a_split_makes_older_prices_smaller_and_older_volumes_larger() -> None:
    bars = daily(100, 102, 51, 52)
    factors = factors_from([CorporateAction(date(2024, 1, 3), split_ratio=2)], bars)
    assert factors == (AdjustmentFactor(date(2024, 1, 2), 1.0, 0.5),)
    result = adjusted(bars, factors)
    assert result.close.tolist() == [50, 51, 51, 52]
    assert result.high.tolist() == [50.5, 51.5, 52, 53]
    assert result.volume.tolist() == [2000, 2000, 1000, 1000]


def test_a_dividend_is_measured_by_the_close_before_it() -> None:
    bars = daily(100, 100, 98)
    factors = factors_from([CorporateAction(date(2024, 1, 3), cash_dividend=2)], bars)
    assert adjusted(bars, factors).close.tolist() == [98, 98, 98]
    assert adjusted(bars, factors).volume.tolist() == [1000] * 3
    assert adjusted(bars, factors, dividends=False).close.tolist() == [100, 100, 98]


def test_actions_multiply_and_those_of_one_day_are_one_row() -> None:
    actions = [
        CorporateAction(date(2024, 1, 2), cash_dividend=10),
        CorporateAction(date(2024, 1, 3), split_ratio=2),
        CorporateAction(date(2024, 1, 3), cash_dividend=20),
    ]
    assert factors_from(actions, daily(100, 200, 90)) == (
        AdjustmentFactor(date(2024, 1, 1), 0.81, 0.5),
        AdjustmentFactor(date(2024, 1, 2), 0.9, 0.5),
    )


def test_a_dividend_from_before_the_first_bar_counts_for_nothing() -> None:
    actions = [CorporateAction(date(2023, 12, 1), cash_dividend=5)]
    assert factors_from(actions, daily(100)) == (AdjustmentFactor(date(2023, 11, 30), 1.0, 1.0),)


def test_a_dividend_as_large_as_the_price_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cash_dividend: 100 on 2024-01-02 is not below the close before it"):
        factors_from([CorporateAction(date(2024, 1, 2), cash_dividend=100)], daily(100, 1))


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_split_needs_a_ratio_above_zero(ratio: float) -> None:
    with pytest.raises(InvalidInput, match="split_ratio: must be above 0"):
        CorporateAction(date(2024, 1, 2), split_ratio=ratio)


def test_a_row_holds_up_to_and_including_its_date_in_any_order_of_rows() -> None:
    factors = [AdjustmentFactor(date(2024, 1, 2), 1, 0.5), AdjustmentFactor(date(2024, 1, 1), 1, 0.25)]
    assert adjusted(daily(8, 8, 8), factors).close.tolist() == [2, 4, 8]


def test_a_missing_value_stays_missing_and_nothing_stays_nothing() -> None:
    factors = [AdjustmentFactor(date(2024, 1, 2), 1, 0.5)]
    result = adjusted(daily(8, float("nan")), factors)
    assert result.close[0] == 4
    assert np.isnan(result.close[1])
    assert len(adjusted(Bars.empty(), factors)) == 0
    bars = daily(1, 2)
    assert adjusted(bars, ()) is bars


def test_split_days_are_those_from_which_on_the_split_factor_changes() -> None:
    factors = [
        AdjustmentFactor(date(2024, 1, 1), 0.8, 0.25),
        AdjustmentFactor(date(2024, 1, 5), 0.9, 0.25),
        AdjustmentFactor(date(2024, 1, 9), 1.0, 1.0),
    ]
    assert split_days(factors) == (date(2024, 1, 6),)
    assert split_days(()) == ()


@given(st.lists(st.tuples(st.integers(2, 28), st.sampled_from([0.5, 1.0, 2.0, 4.0])), max_size=5))
def test_splits_leave_the_value_traded_as_it_was(splits: list[tuple[int, float]]) -> None:
    bars = daily(*(float(n + 1) for n in range(28)))
    actions = [CorporateAction(date(2024, 1, day), split_ratio=ratio) for day, ratio in splits]
    result = adjusted(bars, factors_from(actions, bars))
    assert np.allclose(result.close * result.volume, bars.close * bars.volume)


def test_dividends_of_prices_that_know_splits_shrink_with_every_later_split() -> None:
    actions = [
        CorporateAction(date(2020, 1, 10), cash_dividend=8.0),
        CorporateAction(date(2020, 6, 1), split_ratio=4.0, cash_dividend=4.0),
        CorporateAction(date(2021, 6, 1), split_ratio=2.0),
        CorporateAction(date(2022, 1, 10), cash_dividend=0.5),
    ]
    found = dividends_after_splits(actions)
    assert [(each.ex_date.year, each.split_ratio, each.cash_dividend) for each in found] == [
        (2020, 1.0, 1.0), (2020, 1.0, 0.5), (2022, 1.0, 0.5)
    ]  # fmt: skip
