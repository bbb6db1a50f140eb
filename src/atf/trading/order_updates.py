"""What a strategy is told of its orders. Pure."""

from __future__ import annotations

from datetime import datetime

from atf.trading.bot_messages import OrderRequest, OrderUpdate
from atf.trading.fill import Fill
from atf.trading.order import Order, OrderStatus
from atf.trading.position import ZERO
from atf.trading.risk import LACKS_CAPITAL


def update_of(order: Order, at: datetime, fill: Fill | None = None) -> OrderUpdate:
    """Return how an order stands; with the fill that it is told for, if it is one."""
    return OrderUpdate(
        ref=order.ref,
        status=order.status,
        filled_quantity=order.filled_quantity,
        price=order.average_price,
        fees=order.fees,
        at=at,
        last_quantity=None if fill is None else fill.quantity,
        last_price=None if fill is None else fill.price,
        reason=order.reason,
        lacks_cash=order.reason is not None and LACKS_CAPITAL in order.reason,
    )


def refusal_of(request: OrderRequest, at: datetime) -> OrderUpdate:
    """Return the end of an order that was not even written down."""
    return OrderUpdate(request.ref, OrderStatus.REJECTED, ZERO, None, ZERO, at)
