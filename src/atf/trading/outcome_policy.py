"""What follows from how an attempt to send an order ended. Pure; docs/trading.md has it as a table.

Only a definite refusal is a rejection. Whatever leaves open whether the venue has the order makes it unknown: it
is looked up by its name, never sent again, and its symbol waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from atf.trading.broker import OrderRejected, OrderStatusUnknown, VenueOrder, VenueUnavailable
from atf.trading.order import Order, OrderStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where an order is now; ``venue_order`` if the venue said so."""

    status: OrderStatus
    reason: str | None = None
    venue_order: VenueOrder | None = None


def after_sending(attempt: VenueOrder | Exception) -> Outcome:
    """Return what a call of ``Broker.submit`` means for the order.

    An adapter that raises something else has a defect: nobody knows what it did, so the order is unknown, too.
    """
    match attempt:
        case VenueOrder():
            return Outcome(attempt.status, attempt.reason, attempt)
        case OrderRejected():
            return Outcome(OrderStatus.REJECTED, str(attempt))
        case VenueUnavailable():
            # It was not sent, and is not sent later, at a price that nobody decided about.
            return Outcome(OrderStatus.LOST, f"it was not sent: {attempt}")
        case OrderStatusUnknown():
            return Outcome(OrderStatus.UNKNOWN, str(attempt))
    return Outcome(OrderStatus.UNKNOWN, f"the broker's adapter failed: {type(attempt).__name__}: {attempt}")


def after_looking_up(
    order: Order, found: VenueOrder | None, now: datetime, visibility_delay: timedelta
) -> Outcome | None:
    """Return what a look-up means for an order; None if the venue may still come to know it: ask again.

    Time: ``now`` by the same clock as the order's ``created_at``.
    """
    if found is not None:
        return Outcome(found.status, found.reason, found)
    if now - order.created_at < visibility_delay:
        return None
    return Outcome(OrderStatus.LOST, "the venue does not know it")
