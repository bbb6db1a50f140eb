"""A fill: so much of an order, traded at a price. A fact of the venue, whatever the order's status says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from atf.trading.order import ClientOrderId, Side


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution.

    ``venue_fill_id``: unique within an account, so that a fill that is told twice is booked once.
    Units: ``quantity`` above zero; ``fee`` as a positive amount of the quote currency.
    Time:  ``filled_at`` by the venue's clock.
    """

    venue_fill_id: str
    client_order_id: ClientOrderId
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    filled_at: datetime

    @property
    def cost(self) -> Decimal:
        """What was paid for it, or got, without the fee."""
        return self.quantity * self.price

    @property
    def cash(self) -> Decimal:
        """By how much the account's cash grew."""
        return -self.side.sign * self.cost - self.fee
