"""What a paper venue refuses at once, each with one sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from tests.paper_bars import BTC, Desk, new

from atf.market.bars import Series, Timeframe
from atf.trading.order import OrderStatus
from atf.trading.paper.marks import Mark, finest, is_new

STEPS = {"quantity_step": "0.01", "price_step": "0.5", "minimum_quantity": "0.05", "minimum_value": "10"}


@pytest.mark.parametrize(
    ("side", "type_", "quantity", "more", "reason"),
    [
        ("buy", "market", "0.055", {}, "quantity 0.055 is not a multiple of the step 0.01"),
        ("buy", "market", "0.04", {}, "quantity 0.04 is below the minimum of 0.05"),
        ("buy", "limit", "1", {"limit_price": "100.3"}, "limit_price 100.3 is not a multiple of the step 0.5"),
        ("buy", "stop", "1", {"stop_price": "100.3"}, "stop_price 100.3 is not a multiple of the step 0.5"),
        ("buy", "limit", "0.05", {"limit_price": "100"}, "the order's value of 5 is below the minimum of 10"),
        ("buy", "limit", "1", {}, "a limit order needs limit_price"),
        ("buy", "market", "1", {"limit_price": "1"}, "a market order has no limit_price"),
        ("buy", "stop", "1", {}, "a stop order needs stop_price"),
        ("buy", "market", "0", {}, "quantity must be a finite number above zero"),
        ("buy", "market", "-1", {}, "quantity must be a finite number above zero"),
        ("buy", "market", "NaN", {}, "quantity must be a finite number above zero"),
        ("buy", "limit", "1", {"limit_price": "Infinity"}, "limit_price must be a finite number above zero"),
        (
            "sell",
            "trailing_stop",
            "1",
            {"stop_price": "100"},
            "a trailing_stop order needs one of trail_amount and trail_fraction",
        ),
        (
            "sell",
            "trailing_stop",
            "1",
            {"stop_price": "100", "trail_fraction": "1"},
            "trail_fraction must be below 1, got 1",
        ),
        (
            "sell",
            "trailing_stop",
            "1",
            {"stop_price": "100", "trail_amount": "NaN"},
            "the trail must be a finite number above zero",
        ),
        ("buy", "market", "1", {"trail_amount": "1"}, "a market order has no trail"),
        ("buy", "market", "1", {"group": "g\0"}, "oco_group must be a printable text of at most 200 characters"),
        ("buy", "market", "1", {"symbol": ""}, "symbol must be a printable text of at most 200 characters"),
        (
            "buy",
            "market",
            "1",
            {"symbol": "S" * 201},
            "symbol must be a printable text of at most 200 characters",
        ),
        ("buy", "market", "1", {"parent": "\ud800"}, "parent must be a printable text of at most 200 characters"),
        ("buy", "market", "1e16", {}, "quantity must be between 0.000000000000001 and 1000000000000000"),
        ("buy", "market", "1", {"valid_until": datetime(2026, 1, 1)}, "valid_until must have a time zone"),  # noqa: DTZ001
    ],
)
def test_an_order_that_cannot_be_is_refused_with_one_sentence(
    side: str, type_: str, quantity: str, more: dict[str, Any], reason: str
) -> None:
    refused = Desk(**STEPS).send(new("a", side, type_, quantity, **more))
    assert (refused.status, refused.reason) == (OrderStatus.REJECTED, reason)


def test_a_market_order_that_is_worth_too_little_is_rejected_as_soon_as_it_has_a_price() -> None:
    desk = Desk(**STEPS)
    desk.send(new("a", "buy", "market", "0.05"))
    desk.bar(100, 100, 100, 100)
    assert desk.reason("a") == "the order's value of 5 is below the minimum of 10"


def at(minute: int) -> datetime:
    return datetime(2026, 3, 2, 12, minute, tzinfo=UTC)


def test_a_bar_that_is_not_newer_than_the_last_of_its_series_is_not_matched() -> None:
    series = Series(BTC, Timeframe.M1)
    marks = {series: Mark(at(3), at(4))}
    assert [is_new(series, at(minute), marks) for minute in (2, 3, 4)] == [False, False, True]
    assert is_new(Series("ETH/USDT", Timeframe.M1), at(2), marks)


def test_a_bar_whose_time_finer_bars_have_told_is_not_matched() -> None:
    fine, coarse = Series(BTC, Timeframe.M1), Series(BTC, Timeframe.M5)
    assert not is_new(coarse, at(0), {fine: Mark(at(2), at(3))})
    assert is_new(coarse, at(5), {fine: Mark(at(4), at(5))})
    assert is_new(fine, at(5), {coarse: Mark(at(0), at(5)), fine: Mark(at(1), at(2))})


def test_of_bars_that_close_together_the_finest_of_each_symbol_are_matched() -> None:
    fine, coarse = Series(BTC, Timeframe.M1), Series(BTC, Timeframe.H1)
    assert finest([coarse, Series("A", Timeframe.D1), fine]) == [Series("A", Timeframe.D1), fine]


def test_amounts_keep_all_their_digits() -> None:
    desk = Desk("1000000000", fee_fraction="0.00075")
    desk.send(new("a", "buy", "market", "1.23456789012345678"))
    desk.bar(12345.6789, 12345.6789, 12345.6789, 12345.6789)
    (fill,) = desk.fills
    spent = Fraction("1.23456789012345678") * Fraction("12345.6789") + Fraction(fill.fee)
    assert Fraction(desk.account.book.cash) == 1_000_000_000 - spent
    assert len(desk.cash) > 29  # more than the usual 28 digits and a point
    assert desk.account.book.positions[BTC] == fill.quantity
