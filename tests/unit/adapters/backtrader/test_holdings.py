"""Positions are exact behind the floats that strategies see."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.adapters.backtrader.holdings import Holdings, TradeSizes
from atf.adapters.backtrader.tracked_order import NewFill, TrackedOrder
from atf.trading.bot_messages import HeldPosition, OrderUpdate
from atf.trading.order import OrderStatus, OrderTerms, OrderType, Side

AT = datetime(2026, 3, 2, tzinfo=UTC)
D = Decimal
quantities = st.integers(-2000, 2000).filter(bool).map(lambda n: D(n) / 1000)
prices = st.integers(1, 10_000).map(lambda n: n / 100)


def _held(holdings: Holdings) -> tuple[float, float]:
    position = holdings.positions["X"]
    return position.size, position.price


@pytest.mark.parametrize(
    ("fills", "held"),
    [
        ([("1", 10.0), ("1", 20.0)], (2.0, 15.0)),
        ([("2", 10.0), ("-1", 20.0)], (1.0, 10.0)),
        ([("2", 10.0), ("-2", 20.0)], (0.0, 0.0)),
        ([("2", 10.0), ("-3", 20.0)], (-1.0, 20.0)),
        ([("-2", 10.0), ("-2", 20.0), ("1", 5.0)], (-3.0, 15.0)),
        ([("0.1", 10.0), ("0.2", 10.0), ("-0.3", 10.0)], (0.0, 0.0)),
    ],
)
def test_positions_are_as_backtrader_has_them(fills: list[tuple[str, float]], held: tuple[float, float]) -> None:
    holdings = Holdings(["X"], [])
    for quantity, price in fills:
        holdings.book("X", D(quantity), price, AT)
    assert _held(holdings) == held


@given(st.lists(st.tuples(quantities, prices), max_size=30))
def test_what_is_closed_and_opened_adds_up(fills: list[tuple[D, float]]) -> None:
    holdings, held = Holdings(["X"], []), D(0)
    for quantity, price in fills:
        booked = holdings.book("X", quantity, price, AT)
        assert booked.closed + booked.opened == quantity
        assert not booked.closed or held * booked.closed < 0
        assert abs(booked.closed) <= abs(held)
        held += quantity
        assert holdings.positions["X"].size == float(held)
        assert (holdings.positions["X"].price == 0.0) == (held == 0)


@given(st.lists(st.tuples(quantities, prices), max_size=30), quantities)
def test_a_trade_is_at_zero_when_the_position_is(fills: list[tuple[D, float]], first: D) -> None:
    holdings = Holdings(["X"], [HeldPosition("X", first, D(10))])
    sizes, trade = TradeSizes(holdings), float(first)
    for quantity, price in fills:
        closed, opened = sizes.book(("X", 0), holdings.book("X", quantity, price, AT))
        trade += closed
        assert trade == 0.0 or not opened or not closed
        trade += opened
        assert (trade == 0.0) == (holdings.positions["X"].size == 0.0)


def _update(filled: str, price: str, fees: str, last: tuple[str, str] | None = None) -> OrderUpdate:
    quantity, at = (None, None) if last is None else map(D, last)
    return OrderUpdate(1, OrderStatus.PARTIALLY_FILLED, D(filled), D(price), D(fees), AT, quantity, at)


def test_sums_count_and_not_the_fill_that_is_named() -> None:
    tracked = TrackedOrder(None, OrderTerms("X", Side.BUY, OrderType.MARKET, D(5)))
    assert tracked.take(_update("1", "10", "0.1", ("1", "10"))) == NewFill(D(1), D(10), D("0.1"))
    assert tracked.take(_update("1", "10", "0.1", ("1", "10"))).quantity == 0
    assert tracked.take(_update("3", "12", "0.3", ("1", "11"))) == NewFill(D(2), D(13), D("0.2"))
    assert tracked.take(_update("2", "12", "0.3")).quantity == 0


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 1000)), min_size=1, max_size=10))
def test_no_fill_is_lost_and_none_counts_twice(fills: list[tuple[int, int]]) -> None:
    tracked = TrackedOrder(None, OrderTerms("X", Side.BUY, OrderType.MARKET, D(10_000)))
    totals = [(D(0), D(0))]
    for quantity, price in fills:
        totals.append((totals[-1][0] + quantity, totals[-1][1] + quantity * price))
    for (before, cost_before), (after, cost) in pairwise(totals[::2] + totals[-1:]):
        update = _update(str(after), str(cost / after), "0")
        new = [tracked.take(update), tracked.take(update)]
        assert sum(one.quantity for one in new) == after - before
        assert sum(one.quantity * one.price for one in new) == pytest.approx(cost - cost_before)
