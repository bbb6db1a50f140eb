"""Positions and trades: what fills make of them."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.trading.trading_fakes import a_fill

from atf.trading.fill import Fill
from atf.trading.order import Side
from atf.trading.position import Direction, Holding, HoldingChange, Position, apply

FLAT = Holding(Position("AAPL"))


def after(*fills: Fill) -> list[HoldingChange]:
    holding, changes = FLAT, []
    for fill in fills:
        changes.append(apply(holding, fill))
        holding = changes[-1].after
    return changes


def exact(*numbers: int) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, numbers))


def buy(quantity: str, price: str, fee: str = "0") -> Fill:
    return a_fill("o", "f", quantity, price, Side.BUY, fee)


def sell(quantity: str, price: str, fee: str = "0") -> Fill:
    return a_fill("o", "f", quantity, price, Side.SELL, fee)


def test_what_is_added_is_averaged_and_what_is_taken_is_realized_at_that_average() -> None:
    *_, last = after(buy("1", "100", "0.1"), buy("3", "120", "0.3"), sell("2", "130", "0.2"))
    position, trade = last.after.position, last.after.trade
    assert (position.quantity, position.average_price, position.realized_pnl) == exact(2, 115, 30)
    assert position.fees == Decimal("0.6")
    assert trade is not None
    assert (trade.size, trade.entry_price, trade.exit_price) == exact(4, 115, 130)
    assert trade.is_open
    assert last.closed is None


def test_a_fill_through_zero_ends_one_trade_and_begins_another() -> None:
    *_, last = after(buy("2", "100"), sell("5", "110", "5"))
    assert last.closed is not None
    ended = last.closed.trade
    assert ended is not None
    assert (ended.direction, ended.is_open) == (Direction.LONG, False)
    assert (ended.realized_pnl, ended.fees) == exact(20, 2)
    assert (last.closed.position.quantity, last.closed.position.realized_pnl) == exact(0, 20)
    begun = last.after.trade
    assert begun is not None
    assert begun.direction is Direction.SHORT
    assert (begun.size, begun.entry_price, begun.fees) == exact(3, 110, 3)
    assert last.after.position.quantity == -3


def test_a_short_position_gains_when_the_price_falls() -> None:
    *_, last = after(sell("2", "100"), buy("1", "90"))
    assert (last.after.position.quantity, last.after.position.realized_pnl) == exact(-1, 10)
    assert last.after.position.unrealized_pnl(Decimal(80)) == 20


amounts = st.decimals("0.00000001", "1000", places=8)


@given(st.lists(st.tuples(st.sampled_from(Side), amounts, amounts, amounts), min_size=1, max_size=30))
def test_cash_is_what_was_gained_less_fees_and_what_is_tied_up(
    fills: list[tuple[Side, Decimal, Decimal, Decimal]],
) -> None:
    made = [a_fill("o", str(n), str(q), str(p), side, str(fee)) for n, (side, q, p, fee) in enumerate(fills)]
    changes = after(*made)
    closed = [change.closed.position for change in changes if change.closed is not None]
    last = changes[-1].after.position
    gained = sum((one.realized_pnl - one.fees for one in (*closed, last)), Decimal(0))
    tied_up = last.cost * (1 if last.quantity > 0 else -1)
    cash = sum((fill.cash for fill in made), Decimal(0))
    assert abs(cash - (gained - tied_up)) < Decimal("1e-15")
    assert last.quantity == sum((fill.side.sign * fill.quantity for fill in made), Decimal(0))
    for change in changes:
        trade = change.after.trade
        assert (trade is None) == (not change.after.position.is_open)
        if trade is not None:
            assert trade.entry_quantity - trade.exit_quantity == abs(change.after.position.quantity)
