"""An order that the service works on, and what its strategy was told of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from atf.trading.bot_messages import OpenOrder, OrderRequest, OrderUpdate
from atf.trading.order import OrderStatus, OrderTerms

_ZERO = Decimal(0)


class NewFill(NamedTuple):
    """What an update tells beyond all before it. ``quantity`` is zero if it tells of no fill."""

    quantity: Decimal
    price: Decimal
    fee: Decimal


@dataclass(slots=True)
class TrackedOrder:
    """Backtrader's order and its fills so far.

    ``is_submitted``, ``is_accepted``: told to the strategy. ``end``: Backtrader's status that it ended with.
    """

    order: Any
    terms: OrderTerms
    filled: Decimal = _ZERO
    cost: Decimal = _ZERO
    fees: Decimal = _ZERO
    is_submitted: bool = False
    is_accepted: bool = False
    end: int | None = None

    @classmethod
    def requested(cls, order: Any, request: OrderRequest) -> TrackedOrder:
        """Return an order that the strategy has just made."""
        return cls(order, request.terms)

    @classmethod
    def recovered(cls, order: Any, found: OpenOrder) -> TrackedOrder:
        """Return an order of a former process, as it stood when this one was started."""
        accepted = found.status in (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)
        return cls(
            order,
            found.terms,
            filled=found.filled_quantity,
            cost=found.filled_quantity * (found.average_price or _ZERO),
            fees=found.fees,
            is_submitted=accepted or found.status is OrderStatus.SUBMITTED,
            is_accepted=accepted,
        )

    def take(self, update: OrderUpdate) -> NewFill:
        """Return what is new in an update, and remember it.

        Sums count, not the fill that the update names: what is told twice is booked once, and a fill that was
        told to nobody comes with the next.
        """
        quantity, fee = update.filled_quantity - self.filled, update.fees - self.fees
        if quantity <= 0:
            return NewFill(_ZERO, _ZERO, _ZERO)
        if update.last_price is not None and update.last_quantity == quantity:
            price = update.last_price
        elif update.price is not None:
            price = (update.price * update.filled_quantity - self.cost) / quantity
        else:
            price = _ZERO
        self.filled, self.fees = update.filled_quantity, update.fees
        self.cost = self.cost + quantity * price
        return NewFill(quantity, price, fee)
