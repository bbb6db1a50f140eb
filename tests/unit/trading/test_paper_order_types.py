"""The rules of each order type, as small tables of bars: (open, high, low, close) and the price that fills."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.paper_bars import BEGIN, MISSING, Desk, Prices, new

from atf.trading.order import ClientOrderId, OrderStatus

FLAT: Prices = (100, 100, 100, 100)


@pytest.mark.parametrize(("side", "price"), [("buy", "100.1"), ("sell", "99.9")])
def test_a_market_order_is_filled_at_the_open_with_slippage_against_it(side: str, price: str) -> None:
    desk = Desk(slippage_fraction="0.001", allow_short=True)
    desk.send(new("a", side, "market"))
    assert desk.bar(100, 120, 80, 110) == [("a", "1", price)]
    assert desk.fills[0].filled_at == BEGIN


def test_slippage_is_rounded_to_the_price_step_against_the_trader() -> None:
    desk = Desk(slippage_fraction="0.001", price_step="0.5", allow_short=True)
    desk.send(new("a", "buy", "market"))
    desk.send(new("b", "sell", "market"))
    assert desk.bar(*FLAT) == [("a", "1", "100.5"), ("b", "1", "99.5")]


@pytest.mark.parametrize(
    ("side", "limit", "bar", "price"),
    [
        ("buy", "99", (98, 99, 97, 98), "98"),  # better at the open
        ("buy", "99", (99, 101, 98, 100), "99"),
        ("buy", "99", (100, 101, 98, 100), "99"),  # reached
        ("buy", "99", (100, 101, 99, 100), "99"),  # touched
        ("buy", "99", (100, 101, 99.01, 100), None),
        ("sell", "101", (102, 103, 101, 102), "102"),
        ("sell", "101", (100, 102, 99, 100), "101"),
        ("sell", "101", (100, 101, 99, 100), "101"),
        ("sell", "101", (100, 100.99, 99, 100), None),
    ],
)
def test_a_limit_is_filled_at_a_better_open_or_at_itself(
    side: str, limit: str, bar: Prices, price: str | None
) -> None:
    desk = Desk(slippage_fraction="0.01", allow_short=True)
    desk.send(new("a", side, "limit", limit_price=limit))
    assert desk.bar(*bar) == ([] if price is None else [("a", "1", price)])


@pytest.mark.parametrize(
    ("side", "stop", "bar", "price"),
    [
        ("buy", "101", (102, 103, 101, 102), "102"),  # gapped through
        ("buy", "101", (100, 102, 99, 100), "101"),
        ("buy", "101", (100, 101, 99, 100), "101"),  # touched
        ("buy", "101", (100, 100.99, 99, 100), None),
        ("sell", "99", (98, 99, 97, 98), "98"),
        ("sell", "99", (100, 101, 98, 100), "99"),
        ("sell", "99", (100, 101, 99.01, 100), None),
    ],
)
def test_a_stop_is_filled_at_a_gapped_open_or_at_its_trigger(
    side: str, stop: str, bar: Prices, price: str | None
) -> None:
    desk = Desk(allow_short=True)
    desk.send(new("a", side, "stop", stop_price=stop))
    assert desk.bar(*bar) == ([] if price is None else [("a", "1", price)])


def test_a_stop_slips_wherever_it_is_filled() -> None:
    desk = Desk(slippage_fraction="0.01", allow_short=True)
    desk.send(new("a", "sell", "stop", stop_price="99"))
    desk.send(new("b", "sell", "stop", stop_price="101"))
    assert desk.bar(100, 100, 98, 98) == [("b", "1", "99"), ("a", "1", "98.01")]


@pytest.mark.parametrize(
    ("side", "stop", "limit", "bars", "price"),
    [
        ("buy", "101", "103", [(102, 104, 101, 103)], "102"),  # gapped, and within the limit
        ("buy", "101", "103", [(104, 105, 103, 104)], "103"),  # gapped beyond, and came back
        ("buy", "101", "103", [(104, 105, 104, 104), (104, 104, 102, 104)], "103"),
        ("buy", "101", "103", [(100, 102, 99, 100)], "101"),  # at the trigger, which is good enough
        ("buy", "101", "100", [(100, 102, 99, 99.5)], "100"),  # the close proves that it came back
        ("buy", "101", "100", [(100, 102, 99, 100.5)], None),  # the low may have been before the trigger
        ("buy", "101", "100", [(100, 102, 99, 100.5), (101, 101, 99, 101)], "100"),
        ("buy", "101", "103", [(100, 100.5, 90, 100)], None),
        ("sell", "99", "97", [(98, 99, 97, 98)], "98"),
        ("sell", "99", "97", [(100, 101, 98, 98)], "99"),
        ("sell", "99", "100", [(101, 101, 98, 100.5)], "100"),
        ("sell", "99", "100", [(101, 101, 98, 99.5)], None),
    ],
)
def test_a_stop_limit_is_a_limit_once_it_was_triggered(
    side: str, stop: str, limit: str, bars: list[Prices], price: str | None
) -> None:
    desk = Desk(allow_short=True)
    desk.send(new("a", side, "stop_limit", stop_price=stop, limit_price=limit))
    found = [fill for bar in bars for fill in desk.bar(*bar)]
    assert found == ([] if price is None else [("a", "1", price)])


@pytest.mark.parametrize(
    ("trail", "bars", "price"),
    [
        ({"trail_amount": "5"}, [(100, 110, 99, 108), (108, 109, 104, 105)], "105"),  # 110 - 5
        ({"trail_amount": "5"}, [(100, 110, 99, 108), (104, 104, 103, 103)], "104"),  # gapped
        ({"trail_fraction": "0.1"}, [(100, 110, 99, 108), (105, 105, 98, 98)], "99"),
        ({"trail_amount": "5"}, [(100, 110, 99, 108), (108, 109, 105.01, 106)], None),
        ({"trail_amount": "5"}, [(100, 110, 96, 96)], None),  # checked against 95 first, then it follows
        ({"trail_amount": "5"}, [(100, 110, 95, 109)], "95"),
        ({"trail_amount": "5"}, [(100, 110, 99, 108), (106, 106, 106, 106), (105, 106, 105, 106)], "105"),
    ],
)
def test_a_trailing_stop_is_checked_first_and_follows_then(
    trail: dict[str, str], bars: list[Prices], price: str | None
) -> None:
    desk = Desk(allow_short=True)
    desk.send(new("a", "sell", "trailing_stop", stop_price="95", **trail))
    found = [fill for bar in bars for fill in desk.bar(*bar)]
    assert found == ([] if price is None else [("a", "1", price)])


def test_a_trailing_stop_that_buys_follows_the_lows_and_never_goes_back() -> None:
    desk = Desk()
    desk.send(new("a", "buy", "trailing_stop", stop_price="105", trail_amount="5"))
    assert desk.bar(100, 101, 90, 91) == []
    assert desk.bar(91, 94, 91, 93) == []
    assert desk.bar(93, 96, 93, 96) == [("a", "1", "95")]


def test_the_limit_of_a_trailing_stop_limit_moves_with_its_trigger() -> None:
    desk = Desk(allow_short=True)
    desk.send(new("a", "sell", "trailing_stop_limit", stop_price="95", limit_price="94", trail_amount="5"))
    assert desk.bar(100, 110, 99, 108) == []  # now 105 and 104
    assert desk.bar(103, 103.5, 100, 100) == []  # gapped beyond the limit: triggered, not filled
    assert desk.bar(101, 104, 100, 101) == [("a", "1", "104")]


def test_what_a_bar_began_with_cannot_fill_an_order_that_came_later() -> None:
    desk = Desk()
    desk.now = BEGIN + timedelta(seconds=1)
    desk.send(new("a", "buy", "market"))
    desk.now = BEGIN
    assert desk.bar(*FLAT) == []
    assert desk.bar(*FLAT) == [("a", "1", "100")]


def test_latency_keeps_an_order_from_the_bars_that_open_meanwhile() -> None:
    desk = Desk(latency=timedelta(seconds=90))
    desk.send(new("a", "buy", "market"))
    assert [desk.bar(*FLAT) for _ in range(3)] == [[], [], [("a", "1", "100")]]


@pytest.mark.parametrize("missing", range(4))
def test_a_bar_without_one_of_its_prices_fills_nothing(missing: int) -> None:
    desk = Desk()
    desk.send(new("a", "buy", "market"))
    prices = [100.0, 100.0, 100.0, 100.0]
    prices[missing] = MISSING
    assert desk.bar(*prices) == []
    assert desk.status("a") is OrderStatus.ACCEPTED


@pytest.mark.parametrize("bar", [(100, 99, 101, 100), (1e300, 1e300, 1e300, 1e300), (0, 1, 0, 1), (-1, 1, -1, 1)])
def test_a_bar_that_no_market_could_have_made_fills_nothing(bar: Prices) -> None:
    desk = Desk()
    desk.send(new("a", "buy", "market"))
    assert desk.bar(*bar) == []


def test_an_order_is_not_filled_after_its_time() -> None:
    desk = Desk()
    desk.send(new("a", "buy", "market", valid_until=BEGIN - timedelta(seconds=1)))
    desk.send(new("b", "buy", "limit", limit_price="99", valid_until=BEGIN + timedelta(seconds=30)))
    desk.send(new("c", "buy", "market", valid_until=BEGIN))
    assert desk.bar(100, 100, 98, 99) == [("c", "1", "100")]  # when the bar came to 99 is not known
    assert desk.status("a") is desk.status("b") is OrderStatus.CANCELLED
    assert desk.reason("a") == "it was valid until 2026-03-02T11:59:59+00:00"


def test_a_limit_that_lasts_to_the_end_of_a_bar_may_be_filled_by_all_of_it() -> None:
    desk = Desk()
    desk.send(new("a", "buy", "limit", limit_price="99", valid_until=BEGIN + timedelta(minutes=1)))
    assert desk.bar(100, 100, 98, 99) == [("a", "1", "99")]


def test_a_bar_fills_no_more_than_its_share_of_the_volume_rounded_to_the_step() -> None:
    desk = Desk(partial_fill_fraction="0.1", quantity_step="0.5")
    desk.send(new("a", "buy", "market", "5"))
    desk.send(new("b", "buy", "market", "1"))
    assert desk.bar(*FLAT, volume=27) == [("a", "2.5", "100")]
    assert desk.status("a") is OrderStatus.PARTIALLY_FILLED
    assert desk.bar(*FLAT, volume=30) == [("a", "2.5", "100"), ("b", "0.5", "100")]  # all orders share it
    assert desk.bar(*FLAT, volume=MISSING) == []
    assert desk.bar(*FLAT, volume=0) == []
    assert desk.bar(*FLAT, volume=30) == [("b", "0.5", "100")]
    assert [fill.venue_fill_id for fill in desk.fills] == ["a.1", "a.2", "b.1", "b.2"]


def test_the_rest_of_a_triggered_stop_is_filled_like_a_market_order() -> None:
    desk = Desk(partial_fill_fraction="0.1", allow_short=True)
    desk.send(new("a", "sell", "stop", "5", stop_price="99"))
    assert desk.bar(100, 100, 98, 98, volume=20) == [("a", "2", "99")]
    assert desk.bar(101, 102, 100, 101, volume=100) == [("a", "3", "101")]


def test_fees_are_a_share_of_each_fill() -> None:
    desk = Desk("1000", fee_fraction="0.001")
    desk.send(new("a", "buy", "market", "2"))
    desk.bar(*FLAT)
    assert (desk.cash, desk.held, desk.fills[0].fee) == ("799.8", "2", desk.fills[0].cost / 1000)


def test_without_cash_an_order_is_rejected_when_it_would_be_filled() -> None:
    desk = Desk("150", fee_fraction="0.01")
    assert desk.send(new("a", "buy", "market", "2")).status is OrderStatus.ACCEPTED
    assert desk.bar(*FLAT) == []
    assert desk.status("a") is OrderStatus.REJECTED
    assert desk.reason("a") == "insufficient cash: 202 is needed, there is 150"


def test_what_runs_out_of_cash_half_way_is_cancelled_and_keeps_what_it_got() -> None:
    desk = Desk("150", partial_fill_fraction="0.1")
    desk.send(new("a", "buy", "market", "2"))
    assert desk.bar(*FLAT, volume=10) == [("a", "1", "100")]
    assert desk.bar(*FLAT, volume=10) == []
    assert (desk.status("a"), desk.held, desk.cash) == (OrderStatus.CANCELLED, "1", "50")


def test_selling_what_is_not_held_is_refused_unless_the_account_may_be_short() -> None:
    desk = Desk()
    desk.send(new("a", "sell", "market", "2"))
    assert desk.bar(*FLAT) == []
    assert desk.reason("a") == "short selling is not allowed here: 2 to sell, 0 held"
    short = Desk(allow_short=True)
    short.send(new("a", "sell", "market", "2"))
    short.bar(*FLAT)
    assert (short.held, short.cash) == ("-2", "100200")


def test_a_short_position_can_always_be_covered() -> None:
    desk = Desk("10", allow_short=True)
    desk.send(new("a", "sell", "market", "2"))
    desk.bar(*FLAT)
    desk.send(new("b", "buy", "market", "2"))
    assert desk.bar(500, 500, 500, 500) == [("b", "2", "500")]
    assert desk.cash == "-790"


def test_fills_are_named_by_their_order_and_number() -> None:
    desk = Desk()
    desk.send(new("atf1-b-2-3", "buy", "market"))
    desk.bar(*FLAT)
    assert [fill.venue_fill_id for fill in desk.fills] == ["atf1-b-2-3.1"]
    assert desk.orders[ClientOrderId("atf1-b-2-3")].fill_count == 1
