"""Broker: what the order path needs of a venue, and in which words it tells how an attempt ended.

A broker is one account at one venue. Adapters convert whatever their venue says into these errors; only the order
path decides what follows from them (``outcome_policy.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from atf.errors import OutcomeUnknown, PermanentFailure, TemporaryFailure
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder, OrderStatus


class OrderRejected(PermanentFailure):
    """The venue has refused it for good: nothing of it was or will be filled."""


class OrderStatusUnknown(OutcomeUnknown):
    """It was sent, and no answer tells what became of it: a time-out, a 5xx, a connection that broke."""


class VenueUnavailable(TemporaryFailure):
    """The venue cannot be asked now, and nothing was sent to it."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a venue trades, and in which steps.

    Units: ``quantity_step``, ``minimum_quantity`` in the base currency or shares; ``price_step``,
           ``minimum_value`` (of an order: quantity times price) in the quote currency. Zero: no such rule.
    """

    symbol: str
    quantity_step: Decimal = Decimal(0)
    price_step: Decimal = Decimal(0)
    minimum_quantity: Decimal = Decimal(0)
    minimum_value: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue tells it; ``filled_quantity`` is of all its fills so far."""

    client_order_id: ClientOrderId
    venue_order_id: str
    symbol: str
    status: OrderStatus
    filled_quantity: Decimal = Decimal(0)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class OpenState:
    """What an account holds, all of one instant.

    ``positions``: by symbol, below zero if short, without those that are zero. ``cash`` of the quote currency.
    """

    positions: Mapping[str, Decimal]
    orders: Sequence[VenueOrder]
    cash: Decimal
    at: datetime


VenueEvent = VenueOrder | Fill
"""What a venue pushes: how an order stands now, or that something was filled. In any order, and maybe twice."""


class Broker(Protocol):
    """One account at one venue.

    Each call may raise VenueUnavailable (nothing was sent); those that change something also OrderStatusUnknown.
    """

    @property
    def visibility_delay(self) -> timedelta:
        """How long after an order was sent the venue may still deny that it knows it."""
        ...

    async def instrument(self, symbol: str) -> Instrument:
        """Return the rules of a symbol. Errors: NotFound if it is not traded there."""
        ...

    async def submit(self, order: NewOrder) -> VenueOrder:
        """Send an order once and return the acknowledgement.

        A venue that knows the name already takes no second order: it answers with the first, or OrderRejected.

        Errors: OrderRejected; OrderStatusUnknown; VenueUnavailable, and then it was not sent.
        """
        ...

    async def cancel(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder:
        """Ask for a cancellation and return how the order stands then, final or not.

        Errors: NotFound if the venue does not know it; OrderStatusUnknown; VenueUnavailable.
        """
        ...

    async def order(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder | None:
        """Return how an order stands, None if the venue does not know it. Errors: VenueUnavailable."""
        ...

    async def fills_of(self, client_order_id: ClientOrderId, symbol: str) -> Sequence[Fill]:
        """Return all fills of an order so far. Errors: VenueUnavailable."""
        ...

    async def open_state(self) -> OpenState:
        """Return what the account holds. Errors: VenueUnavailable: that is not "nothing"."""
        ...

    def events(self) -> AsyncIterator[VenueEvent]:
        """Yield what the venue pushes from now on, until the broker is closed.

        It ends with VenueUnavailable when the connection breaks: what was missed is asked for, not guessed.
        """
        ...

    async def told(self) -> None:
        """Return when all that was pushed up to now has been taken in by whoever reads ``events``.

        A reader takes an event in before it asks for the next one.
        """
        ...

    async def close(self) -> None:
        """Give back connections; orders stay as they are."""
        ...
