"""Fundamentals: what cells mean, and what cannot be."""

from __future__ import annotations

from datetime import date

import pytest

from atf.errors import InvalidInput
from atf.market.fundamentals import Fundamentals, parse_amount, parse_number, parse_yield

DAY = date(2024, 1, 31)


@pytest.mark.parametrize("cell", ["", " N/A ", "-", "nan", "inf", "-Infinity", None, float("nan"), float("inf")])
def test_what_is_not_known_is_missing(cell: object) -> None:
    assert parse_number(cell) is None
    assert parse_amount(cell) is None
    assert parse_yield(cell, is_percent=True) is None


@pytest.mark.parametrize(
    ("cell", "amount"),
    [("2.3M", 2.3e6), ("92.3b", 92.3e9), ("1T", 1e12), ("12 K", 12e3), ("1,250,000", 1.25e6), (7, 7.0)],
)
def test_an_amount_may_have_a_suffix(cell: object, amount: float) -> None:
    assert parse_amount(cell) == amount


@pytest.mark.parametrize("cell", ["1.2X", "B", "N/AB", "1,2,3", "1_000", "0x10", True, [1]])
def test_what_is_no_number_is_refused(cell: object) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_amount(cell)


@pytest.mark.parametrize(
    ("cell", "is_percent", "fraction"),
    [("0.0175", False, 0.0175), ("1.75", True, 0.0175), ("1.75%", False, 0.0175), ("1.75%", True, 0.0175)],
)
def test_a_yield_is_a_fraction(cell: str, is_percent: bool, fraction: float) -> None:
    assert parse_yield(cell, is_percent=is_percent) == fraction


def test_a_yield_above_1_in_a_column_of_fractions_is_refused() -> None:
    with pytest.raises(ValueError, match="above 1, but the column holds fractions"):
        parse_yield("1.75", is_percent=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("market_cap", -1.0),
        ("average_volume", -1.0),
        ("dividend_yield", 1.5),
        ("dividend_yield", -0.1),
        ("pe", float("nan")),
        ("name", "a\0b"),
        ("sector", "\ud800"),
    ],
)
def test_a_row_that_cannot_be_names_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        Fundamentals("A", DAY, **{field: value})  # type: ignore[arg-type]
    assert refused.value.field == field


def test_losses_are_possible() -> None:
    assert Fundamentals("A", DAY, eps=-2.5, pe=-3.0).eps == -2.5
