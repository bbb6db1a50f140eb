"""Whatever is asked of a paper account and whatever the market does: the book balances."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.paper_bars import BTC, Desk, new

from atf.trading.fill import Fill
from atf.trading.order import OrderStatus, OrderType, Side
from atf.trading.paper.amounts import EXACT

PRICES = st.integers(8000, 12000).map(lambda cents: Decimal(cents) / 100)


@st.composite
def orders(draw: st.DrawFn, count: int) -> list[Any]:
    """Orders of all types, some tied to earlier ones."""
    made = []
    for number in range(count):
        kind = draw(st.sampled_from(OrderType))
        prices: dict[str, Any] = {}
        if "limit" in kind:
            prices["limit_price"] = str(draw(PRICES))
        if "stop" in kind:
            prices["stop_price"] = str(draw(PRICES))
        if "trailing" in kind:
            prices["trail_amount"] = str(draw(st.integers(1, 900).map(lambda cents: Decimal(cents) / 100)))
        made.append(
            new(
                f"o{number}",
                draw(st.sampled_from(Side)),
                kind,
                str(draw(st.integers(1, 50).map(lambda tenths: Decimal(tenths) / 10))),
                group=draw(st.sampled_from([None, "g", "h"])),
                parent=draw(st.sampled_from([None, *(f"o{other}" for other in range(number))])),
                **prices,
            )
        )
    return made


@st.composite
def bars(draw: st.DrawFn) -> tuple[float, float, float, float]:
    opened, close, one, two = (float(draw(PRICES)) for _ in range(4))
    return opened, max(opened, close, one), min(opened, close, two), close


ACCOUNTS = st.fixed_dictionaries(
    {
        "fee_fraction": st.sampled_from(["0", "0.00075"]),
        "slippage_fraction": st.sampled_from(["0", "0.0005"]),
        "partial_fill_fraction": st.sampled_from([None, "0.1"]),
        "quantity_step": st.sampled_from(["0", "0.1"]),
        "allow_short": st.booleans(),
        "cash": st.sampled_from(["100000", "500"]),
    }
)


@settings(max_examples=300, deadline=None)
@given(given=ACCOUNTS, data=st.data())
def test_cash_positions_and_fees_balance_with_the_fills(given: dict[str, Any], data: st.DataObject) -> None:
    desk = Desk(**given)
    for order in data.draw(orders(6)):
        desk.send(order)
        if data.draw(st.booleans()):
            desk.bar(*data.draw(bars()), volume=data.draw(st.sampled_from([0.0, 7.0, 1e6])))
        if data.draw(st.integers(0, 9)) == 0:
            desk.cancel(order.client_order_id)
    for _ in range(4):
        desk.bar(*data.draw(bars()), volume=1e6)
    check_balance(desk, Decimal(given["cash"]))
    check_orders(desk)
    check_groups(desk)


def check_balance(desk: Desk, started: Decimal) -> None:
    cash, held = started, Decimal(0)
    for fill in desk.fills:
        cash = EXACT.add(cash, _cash_of(fill))
        held = EXACT.add(held, fill.quantity * fill.side.sign)
    assert desk.account.book.cash == cash
    assert desk.account.book.positions.get(BTC, Decimal(0)) == held
    if not desk.account.rules.allow_short:
        assert held >= 0
        assert cash >= 0


def _cash_of(fill: Fill) -> Decimal:
    return EXACT.subtract(EXACT.multiply(-fill.side.sign * fill.quantity, fill.price), fill.fee)


def check_orders(desk: Desk) -> None:
    """No order is overfilled, and each says of itself what its fills say."""
    assert len({fill.venue_fill_id for fill in desk.fills}) == len(desk.fills)
    for order in desk.orders.values():
        fills = [fill for fill in desk.fills if fill.client_order_id == order.client_order_id]
        assert sum((fill.quantity for fill in fills), Decimal(0)) == order.filled_quantity <= order.terms.quantity
        assert (order.status is OrderStatus.FILLED) == (order.filled_quantity == order.terms.quantity)
        assert order.fill_count == len(fills)
        limit = order.terms.limit_price
        if limit is not None and order.terms.type is not OrderType.TRAILING_STOP_LIMIT:
            assert all((fill.price - limit) * order.terms.side.sign <= 0 for fill in fills)


def check_groups(desk: Desk) -> None:
    for group in ("g", "h"):
        legs = [order for order in desk.orders.values() if order.new.oco_group == group]
        assert sum(bool(leg.filled_quantity) for leg in legs) <= 1
    resting = {order.client_order_id for order in desk.account.book.orders}
    assert resting == {name for name, order in desk.orders.items() if not order.status.is_final}
