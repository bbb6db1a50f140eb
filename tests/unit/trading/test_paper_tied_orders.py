"""Brackets and OCO groups: children that sleep, legs of which one is filled, and what an end takes with it."""

from __future__ import annotations

import pytest
from tests.paper_bars import Desk, Prices, new

from atf.trading.order import OrderStatus

FLAT: Prices = (100, 100, 100, 100)


def bracket(desk: Desk, quantity: str = "1") -> None:
    desk.send(new("p", "buy", "market", quantity))
    desk.send(new("s", "sell", "stop", quantity, stop_price="95", group="exit", parent="p"))
    desk.send(new("t", "sell", "limit", quantity, limit_price="105", group="exit", parent="p"))


def test_children_sleep_until_their_parent_is_filled_and_not_in_its_bar() -> None:
    desk = Desk()
    bracket(desk)
    assert desk.bar(100, 110, 90, 100) == [("p", "1", "100")]
    assert desk.bar(100, 105, 99, 101) == [("t", "1", "105")]
    assert desk.status("s") is OrderStatus.CANCELLED
    assert desk.reason("s") == "t of its group was filled"


def test_children_of_an_order_that_still_rests_are_filled_by_nothing() -> None:
    desk = Desk(allow_short=True)
    desk.send(new("p", "buy", "limit", limit_price="80"))
    desk.send(new("s", "sell", "trailing_stop", stop_price="95", trail_amount="5", group="exit", parent="p"))
    desk.send(new("t", "sell", "limit", limit_price="105", group="exit", parent="p"))
    assert desk.bar(100, 110, 90, 100) == []
    assert {order.status for order in desk.orders.values()} == {OrderStatus.ACCEPTED}
    assert desk.bar(80, 80, 80, 80) == [("p", "1", "80")]
    assert desk.bar(94, 94, 94, 94) == [("s", "1", "94")]


def test_children_sleep_while_their_parent_is_filled_in_part() -> None:
    desk = Desk(partial_fill_fraction="0.1")
    bracket(desk, "2")
    assert desk.bar(*FLAT, volume=10) == [("p", "1", "100")]
    assert desk.bar(100, 110, 90, 100, volume=10) == [("p", "1", "100")]
    assert desk.bar(100, 105, 99, 101) == [("t", "2", "105")]


@pytest.mark.parametrize("bar", [(100, 106, 94, 100), (100, 106, 95, 106)])
def test_a_bar_that_reaches_both_legs_fills_the_stop(bar: Prices) -> None:
    desk = Desk()
    bracket(desk)
    desk.bar(*FLAT)
    assert desk.bar(*bar) == [("s", "1", "95")]
    assert (desk.status("t"), desk.held) == (OrderStatus.CANCELLED, "0")


def test_what_the_open_fills_is_filled_before_all_that_the_bar_may_reach() -> None:
    desk = Desk()
    bracket(desk)
    desk.bar(*FLAT)
    assert desk.bar(106, 107, 90, 91) == [("t", "1", "106")]


def test_the_first_part_of_a_leg_cancels_the_others() -> None:
    desk = Desk(partial_fill_fraction="0.1")
    bracket(desk, "2")
    desk.bar(*FLAT)
    assert desk.bar(100, 105, 99, 101, volume=10) == [("t", "1", "105")]
    assert desk.bar(90, 90, 90, 90) == []
    assert desk.status("s") is OrderStatus.CANCELLED
    assert desk.held == "1"


@pytest.mark.parametrize("how", ["cancelled", "rejected", "expired"])
def test_a_parent_that_ends_takes_its_children_along(how: str) -> None:
    desk = Desk("100000" if how != "rejected" else "1")
    until = desk.now.replace(year=2000) if how == "expired" else None
    desk.send(new("p", "buy", "market", valid_until=until))
    desk.send(new("s", "sell", "stop", stop_price="95", parent="p"))
    desk.send(new("t", "sell", "limit", limit_price="105", parent="p"))
    if how == "cancelled":
        desk.cancel("p")
    desk.bar(*FLAT)
    assert desk.status("s") is desk.status("t") is OrderStatus.CANCELLED
    assert desk.reason("s") == f"its parent p was {desk.status('p')}"
    assert desk.account.book.orders == ()


def test_a_leg_that_is_cancelled_takes_its_group_along() -> None:
    desk = Desk()
    bracket(desk)
    desk.cancel("t")
    assert desk.status("s") is OrderStatus.CANCELLED
    assert desk.reason("s") == "t of its group was cancelled"
    assert desk.status("p") is OrderStatus.ACCEPTED
    desk.cancel("t")
    assert desk.reason("t") == "cancelled on request"


def test_a_child_that_comes_after_its_parent_was_filled_is_awake() -> None:
    desk = Desk()
    desk.send(new("p", "buy", "market"))
    desk.bar(*FLAT)
    desk.send(new("s", "sell", "stop", stop_price="95", parent="p"))
    assert desk.bar(100, 100, 95, 96) == [("s", "1", "95")]


def test_a_child_of_an_unknown_or_ended_parent_is_refused() -> None:
    desk = Desk()
    assert desk.send(new("a", "sell", "market", parent="?")).reason == "its parent ? is not known"
    desk.send(new("p", "buy", "market"))
    desk.cancel("p")
    assert desk.send(new("b", "sell", "market", parent="p")).reason == "its parent p was cancelled"


def test_a_leg_that_comes_after_another_was_filled_is_refused() -> None:
    desk = Desk()
    desk.send(new("a", "buy", "market", group="g"))
    desk.bar(*FLAT)
    late = desk.send(new("b", "buy", "limit", limit_price="90", group="g"))
    assert (late.status, late.reason) == (OrderStatus.REJECTED, "its group is over: a was filled")


def test_a_leg_that_comes_after_the_first_part_of_another_is_refused() -> None:
    desk = Desk(partial_fill_fraction="0.1")
    desk.send(new("a", "buy", "market", "2", group="g"))
    desk.bar(*FLAT, volume=10)
    assert desk.status("a") is OrderStatus.PARTIALLY_FILLED
    late = desk.send(new("b", "buy", "limit", limit_price="90", group="g"))
    assert late.reason == "its group is over: a was filled"


def test_a_leg_that_was_refused_leaves_its_group_alone() -> None:
    desk = Desk()
    desk.send(new("a", "buy", "limit", group="g"))
    assert desk.send(new("b", "buy", "limit", limit_price="90", group="g")).status is OrderStatus.ACCEPTED
