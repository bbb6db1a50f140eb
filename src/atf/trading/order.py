"""An order: what a strategy asks for, how it is named for ever, and the states that it may pass through. Pure.

::

    intent ──sent──▶ submitted ──ack──▶ accepted ──▶ partially_filled ──▶ filled
       │                 │                  └──────────────┴──▶ cancelled | rejected
       │                 └──no answer──▶ unknown ──looked up──▶ any of these
       └──crash──▶ looked up ──▶ any of these, or lost: the venue does not know it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, NewType

ClientOrderId = NewType("ClientOrderId", str)
BotId = NewType("BotId", int)

OWN_REF: Final = 0
"""How orders of the service itself are called; strategies count from 1."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """1 for what adds to a position, -1 for what takes from it."""
        return 1 if self is Side.BUY else -1

    @property
    def other(self) -> Side:
        """The opposite side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """When an order is to be filled, and at which price."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    """A market order as soon as the price has come to the trigger."""
    STOP_LIMIT = "stop_limit"
    """A limit order as soon as the price has come to the trigger."""
    TRAILING_STOP = "trailing_stop"
    """A stop whose trigger follows the price at a distance, in favour of the position only."""
    TRAILING_STOP_LIMIT = "trailing_stop_limit"
    """As that, with a limit that moves together with the trigger."""


class OrderStatus(StrEnum):
    """Where an order is; those without a transition are final."""

    INTENT = "intent"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether nothing more becomes of it, but a fill that was told late."""
        return not TRANSITIONS[self]

    @property
    def is_uncertain(self) -> bool:
        """Whether the venue must be asked what became of it."""
        return self in _UNCERTAIN

    def may_become(self, other: OrderStatus) -> bool:
        """Return whether the transition table allows the change."""
        return other in TRANSITIONS[self]


_ENDS: Final = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.LOST})
_AT_WORK: Final = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})
_UNCERTAIN: Final = frozenset({OrderStatus.INTENT, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN})

TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    OrderStatus.INTENT: frozenset({OrderStatus.SUBMITTED, OrderStatus.UNKNOWN}) | _AT_WORK | _ENDS,
    OrderStatus.SUBMITTED: frozenset({OrderStatus.UNKNOWN}) | _AT_WORK | _ENDS,
    OrderStatus.UNKNOWN: _AT_WORK | _ENDS,
    # A venue may refuse after its acknowledgement, or forget an order: then it is lost.
    OrderStatus.ACCEPTED: frozenset({OrderStatus.PARTIALLY_FILLED}) | _ENDS,
    OrderStatus.PARTIALLY_FILLED: frozenset(
        {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.LOST}
    ),
    OrderStatus.FILLED: frozenset(),
    OrderStatus.CANCELLED: frozenset(),
    OrderStatus.REJECTED: frozenset(),
    OrderStatus.LOST: frozenset(),
}


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """What is asked of a venue.

    Units: ``quantity`` above zero, in the base currency or shares; prices in the quote currency;
           ``trail_fraction`` of the price. Exactly those are there that the type needs: ``limit_price`` for
           limit, stop_limit and trailing_stop_limit; ``stop_price`` for all stops, where the trigger is or
           begins; one of ``trail_amount`` and ``trail_fraction`` for both trailing ones.
    Time:  ``valid_until``: not filled later; None until it is cancelled.
    """

    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_fraction: Decimal | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order as it goes to a venue, together with those it depends on.

    ``oco_group``: as soon as one of a group is filled or cancelled, the others are cancelled.
    ``parent``: it sleeps until this order is filled, and is cancelled with it.
    """

    client_order_id: ClientOrderId
    terms: OrderTerms
    oco_group: str | None = None
    parent: ClientOrderId | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """An order as our books have it.

    ``ref``: how the strategy calls it; ``number``: the how many-th of its bar. ``fees`` as a positive amount of
    the quote currency.
    """

    bot_id: BotId
    ref: int
    bar_at: datetime
    number: int
    new: NewOrder
    status: OrderStatus
    filled_quantity: Decimal = Decimal(0)
    filled_cost: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    venue_order_id: str | None = None
    reason: str | None = None
    created_at: datetime = _EPOCH
    is_cancel_requested: bool = False

    @property
    def client_order_id(self) -> ClientOrderId:
        """The name that the venue knows it by, too."""
        return self.new.client_order_id

    @property
    def terms(self) -> OrderTerms:
        """What is asked of the venue."""
        return self.new.terms

    @property
    def remaining_quantity(self) -> Decimal:
        """How much is not filled."""
        return self.terms.quantity - self.filled_quantity

    @property
    def average_price(self) -> Decimal | None:
        """At which price it was filled on average; None if nothing is."""
        return self.filled_cost / self.filled_quantity if self.filled_quantity else None


def client_order_id(installation: str, bot_id: BotId, bar_at: datetime, number: int) -> ClientOrderId:
    """Name the ``number``-th order that a bot makes at a bar.

    The same order has the same name in every replay of its bar, so that it finds its own row and no venue takes
    it twice. At most 36 letters, digits and dashes, as the narrowest of the known venues has it.
    """
    seconds = (bar_at - _EPOCH) // timedelta(seconds=1)
    return ClientOrderId(f"atf{installation}-{_base36(bot_id)}-{_base36(seconds)}-{_base36(number)}")


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
