"""The venue of trials fills what a bar would have filled."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from atf.trading.bot_messages import Answer, Candle, OrderRequest
from atf.trading.made_up_venue import MadeUpVenue, made_up_bars
from atf.trading.order import OrderStatus, OrderTerms, OrderType, Side

AT = datetime(2026, 3, 2, tzinfo=UTC)
BAR: Candle = (10.0, 12.0, 8.0, 11.0, 1.0)


def _order(ref: int, kind: OrderType, side: Side = Side.BUY, **more: Any) -> OrderRequest:
    tied = {name: more.pop(name) for name in ("oco_ref", "parent_ref") if name in more}
    prices: dict[str, Any] = {name: Decimal(value) for name, value in more.items()}
    return OrderRequest(ref, OrderTerms("X", side, kind, Decimal(1), **prices), **tied)


@pytest.mark.parametrize(
    ("order", "price"),
    [
        (_order(1, OrderType.MARKET), 10),
        (_order(1, OrderType.LIMIT, limit_price="9"), 9),
        (_order(1, OrderType.LIMIT, limit_price="11"), 10),
        (_order(1, OrderType.LIMIT, limit_price="7"), None),
        (_order(1, OrderType.LIMIT, Side.SELL, limit_price="11"), 11),
        (_order(1, OrderType.LIMIT, Side.SELL, limit_price="9"), 10),
        (_order(1, OrderType.LIMIT, Side.SELL, limit_price="13"), None),
        (_order(1, OrderType.STOP, stop_price="11"), 11),
        (_order(1, OrderType.STOP, stop_price="9"), 10),
        (_order(1, OrderType.STOP, stop_price="13"), None),
        (_order(1, OrderType.STOP, Side.SELL, stop_price="9"), 9),
        (_order(1, OrderType.STOP, Side.SELL, stop_price="7"), None),
        (_order(1, OrderType.STOP_LIMIT, stop_price="11", limit_price="11.5"), 10),
        (_order(1, OrderType.STOP_LIMIT, stop_price="11", limit_price="7"), None),
    ],
)
def test_a_bar_fills_at_the_price_that_it_comes_to(order: OrderRequest, price: int | None) -> None:
    venue = MadeUpVenue(Decimal(100))
    venue.take(Answer(1, (order,)), AT)
    assert [one.price for one in venue.fills(BAR, AT)] == ([] if price is None else [price])


def test_cash_and_holdings_follow() -> None:
    venue = MadeUpVenue(Decimal(100))
    venue.take(Answer(1, (_order(1, OrderType.MARKET),)), AT)
    venue.fills(BAR, AT)
    assert [venue.cash, venue.held, venue.value(11.0)] == [90, 1, 101]


def _run(*orders: OrderRequest) -> list[tuple[int, OrderStatus]]:
    venue = MadeUpVenue(Decimal(100))
    venue.take(Answer(1, orders), AT)
    return [(one.ref, one.status) for _ in range(2) for one in venue.fills(BAR, AT)]


def test_one_of_a_group_cancels_the_others() -> None:
    first = _order(1, OrderType.LIMIT, limit_price="7")
    second = _order(2, OrderType.LIMIT, limit_price="9", oco_ref=1)
    third = _order(3, OrderType.LIMIT, limit_price="7", oco_ref=1)
    assert _run(first, second, third) == [
        (2, OrderStatus.FILLED),
        (1, OrderStatus.CANCELLED),
        (3, OrderStatus.CANCELLED),
    ]


def test_children_wait_for_their_parent_and_one_cancels_the_other() -> None:
    parent = _order(1, OrderType.LIMIT, limit_price="9")
    children = [
        _order(2, OrderType.STOP, Side.SELL, stop_price="7", parent_ref=1),
        _order(3, OrderType.LIMIT, Side.SELL, limit_price="12", parent_ref=1),
    ]
    assert _run(parent, *children)[:3] == [
        (1, OrderStatus.FILLED),
        (3, OrderStatus.FILLED),
        (2, OrderStatus.CANCELLED),
    ]


def test_a_cancelled_parent_takes_its_children_along() -> None:
    venue = MadeUpVenue(Decimal(100))
    parent = _order(1, OrderType.LIMIT, limit_price="7")
    venue.take(Answer(1, (parent, _order(2, OrderType.MARKET, Side.SELL, parent_ref=1))), AT)
    updates = venue.take(Answer(2, cancels=(1, 9)), AT)
    assert [(one.ref, one.status) for one in updates] == [(1, OrderStatus.CANCELLED), (2, OrderStatus.CANCELLED)]


def test_made_up_bars_are_the_same_each_time_and_are_bars() -> None:
    bars = list(made_up_bars(600))
    assert bars == list(made_up_bars(600))
    assert all(low <= min(o, c) and high >= max(o, c) and low > 0 for o, high, low, c, _ in bars)
