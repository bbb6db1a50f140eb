"""BotBook: what one bot holds, owes and waits for, and what an event makes of it. Pure.

The service keeps one for each bot it runs; each change is committed before the book here becomes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from atf.errors import IllegalTransition
from atf.trading.fill import Fill
from atf.trading.order import OWN_REF, BotId, ClientOrderId, Order, OrderStatus, Side
from atf.trading.outcome_policy import Outcome
from atf.trading.position import ZERO, Holding, HoldingChange, Position, apply

_REMEMBERED_FILLS: Final = 500


@dataclass(frozen=True, slots=True)
class BotBook:
    """The books of a bot.

    ``revision`` counts its changes. ``holdings``: open ones by symbol. ``orders``: those that are not final, by
    name. ``recent_fills``: ids of the newest fills, so that one that is told twice is known. ``order_number``:
    how many orders the last bar has. ``next_ref``: how the strategy calls its next order. ``highest_equity``:
    the most that the bot was worth so far. ``marks``: the last price of each symbol. ``unheard``: orders that the
    strategy had not heard the end of when its state was stored, with the revisions that ended them.
    """

    bot_id: BotId
    cash: Decimal
    revision: int = 0
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    orders: Mapping[ClientOrderId, Order] = field(default_factory=dict)
    recent_fills: tuple[str, ...] = ()
    last_bar_at: datetime | None = None
    order_number: int = 0
    next_ref: int = 1
    state: Mapping[str, Any] | None = None
    highest_equity: Decimal = ZERO
    marks: Mapping[str, Decimal] = field(default_factory=dict)
    unheard: Mapping[ClientOrderId, int] = field(default_factory=dict)

    def holding(self, symbol: str) -> Holding:
        """Return what is held of a symbol, flat if nothing is."""
        return self.holdings.get(symbol) or Holding(Position(symbol))

    @property
    def equity(self) -> Decimal:
        """Cash and positions at the last prices; a symbol without one counts at what it cost."""
        return self.cash + sum((self._worth(one.position) for one in self.holdings.values()), ZERO)

    def by_ref(self, ref: int) -> Order | None:
        """Return the open order that the strategy calls so."""
        return next((order for order in self.orders.values() if order.ref == ref), None)

    def open_orders(self, symbol: str) -> Sequence[Order]:
        """Return the orders of a symbol that are not final."""
        return [order for order in self.orders.values() if order.terms.symbol == symbol]

    def pending(self, symbol: str, side: Side) -> Decimal:
        """Return how much open orders may still trade of a symbol."""
        return sum((o.remaining_quantity for o in self.open_orders(symbol) if o.terms.side is side), ZERO)

    def _worth(self, position: Position) -> Decimal:
        price = self.marks.get(position.symbol, position.average_price or ZERO)
        return position.quantity * price


@dataclass(frozen=True, slots=True)
class FillBooked:
    """What a fill made of a book: the book after it, the order, and the holding's change."""

    book: BotBook
    order: Order
    holding: HoldingChange


def book_fill(book: BotBook, order: Order, fill: Fill) -> FillBooked:
    """Book a fill that is not booked yet: a fact, whatever the order's status says; a final status stays.

    ``order`` may be one that the book no longer has, as a fill may be told after the cancellation.
    """
    filled = order.filled_quantity + fill.quantity
    status = order.status
    if not status.is_final:
        status = OrderStatus.FILLED if filled >= order.terms.quantity else OrderStatus.PARTIALLY_FILLED
    after = replace(
        order,
        status=status,
        filled_quantity=filled,
        filled_cost=order.filled_cost + fill.cost,
        fees=order.fees + fill.fee,
    )
    change = apply(book.holding(fill.symbol), fill)
    holdings = {**book.holdings, fill.symbol: change.after}
    if not change.after.position.is_open:
        del holdings[fill.symbol]
    booked = replace(
        with_orders(book, [after]),
        cash=book.cash + fill.cash,
        holdings=holdings,
        recent_fills=(*book.recent_fills[-_REMEMBERED_FILLS:], fill.venue_fill_id),
        marks={**book.marks, fill.symbol: fill.price},
    )
    return FillBooked(booked, after, change)


def settle(order: Order, outcome: Outcome) -> Order:
    """Return an order as an outcome leaves it; what is told late about a final one changes nothing.

    What is filled follows from the fills alone: an order that the venue calls filled is so when they are booked.
    Errors: IllegalTransition if the venue says what cannot be.
    """
    venue_order = outcome.venue_order
    known = order if venue_order is None else replace(order, venue_order_id=venue_order.venue_order_id)
    target = outcome.status
    if target in _BY_FILLS:
        target = OrderStatus.ACCEPTED if order.status.is_uncertain else order.status
    if order.status.is_final or target is order.status:
        return known
    if not order.status.may_become(target):
        if target in _OVERTAKEN:
            return known
        raise IllegalTransition(f"order {order.client_order_id}: {order.status} cannot become {target}")
    return replace(known, status=target, reason=outcome.reason or order.reason)


_BY_FILLS: Final = frozenset({OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED})
_OVERTAKEN: Final = frozenset({OrderStatus.ACCEPTED, OrderStatus.UNKNOWN})
"""What an answer to a submission, or the lack of one, says of an order that the venue has told of meanwhile."""


def with_orders(book: BotBook, orders: Iterable[Order]) -> BotBook:
    """Return the book with orders as they are now; final ones leave it."""
    kept = {**book.orders, **{order.client_order_id: order for order in orders}}
    return replace(book, orders={name: order for name, order in kept.items() if not order.status.is_final})


def as_revision(book: BotBook, revision: int, changed: Iterable[Order]) -> BotBook:
    """Return the book as a revision; orders of the strategy's that have ended with it are unheard yet."""
    ended = {one.client_order_id: revision for one in changed if one.status.is_final and one.ref != OWN_REF}
    return replace(book, revision=revision, unheard={**book.unheard, **ended} if ended else book.unheard)


def with_heard(book: BotBook, revision: int) -> BotBook:
    """Return the book of a strategy that has heard of all that ended up to a revision."""
    if not book.unheard:
        return book
    return replace(book, unheard={name: ended for name, ended in book.unheard.items() if ended > revision})
