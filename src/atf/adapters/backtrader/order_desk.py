"""Where a strategy's orders go and from where it hears of them: what waits to be sent, and what is at work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import backtrader as bt

from atf.adapters.backtrader.bar_time import as_number
from atf.adapters.backtrader.holdings import Holdings, TradeSizes
from atf.adapters.backtrader.tracked_order import NewFill, TrackedOrder
from atf.errors import InvariantViolation
from atf.trading.bot_messages import OrderRequest, OrderUpdate
from atf.trading.order import OrderStatus

_MOST_ENDED: Final = 256
"""Ended orders that are remembered, as a venue may tell of a fill late."""
_QUIET: Final = frozenset({OrderStatus.INTENT, OrderStatus.UNKNOWN})
"""Of these a strategy hears nothing: nobody knows yet what became of the order."""
_BEFORE_ACCEPTED: Final = frozenset({OrderStatus.SUBMITTED, OrderStatus.REJECTED, OrderStatus.LOST})


class Taken(NamedTuple):
    """What is to be sent now: orders, cancellations, and how many orders more were made than may be."""

    orders: Sequence[OrderRequest]
    cancels: Sequence[int]
    refused: int


class OrderDesk:
    """The orders of one strategy; ``notify`` queues an order's copy for it. ``most``: so many has a bar."""

    def __init__(self, holdings: Holdings, notify: Callable[[Any], None], most: int) -> None:
        self._holdings = holdings
        self._notify = notify
        self._most = most
        self._room = most
        self._refused = 0
        self._trades = TradeSizes(holdings)
        self._tracked: dict[int, TrackedOrder] = {}
        self._ended: OrderedDict[int, TrackedOrder] = OrderedDict()
        self._held_back: dict[int, list[OrderRequest]] = {}
        self._outgoing: list[OrderRequest] = []
        self._cancels: dict[int, None] = {}

    def begin_bar(self) -> None:
        """Let the strategy make as many orders as a bar has."""
        self._room = self._most

    def take(self) -> Taken:
        """Return what is to be sent now, and forget it."""
        taken = Taken(tuple(self._outgoing), tuple(self._cancels), self._refused)
        self._outgoing, self._cancels, self._refused = [], {}, 0
        return taken

    def open_orders(self) -> list[Any]:
        """Return the orders that are at work, oldest first."""
        return [one.order for one in self._tracked.values()]

    def add(self, order: Any, request: OrderRequest) -> None:
        """Send an order with all that waited for it, or let it wait itself."""
        group = request.ref if request.parent_ref is None else request.parent_ref
        if order.parent is not None and order.parent.status == bt.Order.Rejected:
            self.refuse(order)
            return
        self._tracked[order.ref] = TrackedOrder.requested(order, request)
        waiting = self._held_back.setdefault(group, [])
        waiting.append(request)
        if order.transmit:
            self._send(group)

    def _send(self, group: int) -> None:
        """Send orders that belong together, or reject them all: of a flood the service hears the number."""
        waiting = self._held_back[group]
        if len(waiting) > self._room:
            self._refused += len(waiting)
            self._drop(group, bt.Order.Rejected)
            return
        self._room -= len(waiting)
        self._outgoing += self._held_back.pop(group)

    def add_recovered(self, tracked: TrackedOrder) -> None:
        """Know an order of a former process again."""
        self._tracked[tracked.order.ref] = tracked

    def refuse(self, order: Any) -> None:
        """Reject an order that is not sent, with all of its bracket that waited for it."""
        order.reject(order.broker)
        self._notify(order)
        self._drop(order.ref if order.parent is None else order.parent.ref, bt.Order.Rejected)

    def cancel(self, order: Any) -> bool:
        """Ask for a cancellation; an order that was not sent is cancelled at once, with its children."""
        tracked = self._tracked.get(order.ref)
        if tracked is None:
            return False
        for group, waiting in self._held_back.items():
            for request in waiting:
                if request.ref == order.ref:
                    self._drop(group, bt.Order.Canceled, only=None if group == order.ref else order.ref)
                    return True
        self._cancels[order.ref] = None
        return True

    def _drop(self, group: int, status: int, only: int | None = None) -> None:
        """End orders of a bracket that were held back."""
        waiting = self._held_back.pop(group, [])
        kept = [request for request in waiting if only not in (None, request.ref)]
        for request in waiting:
            if request not in kept:
                tracked = self._tracked[request.ref]
                self._end(tracked, status, tracked.order.data.datetime[0])
        if kept:
            self._held_back[group] = kept

    def update(self, update: OrderUpdate) -> None:
        """Take in how an order stands, and tell its strategy what it does not know.

        Errors: InvariantViolation for an order that this process was never told of.
        """
        tracked = self._tracked.get(update.ref) or self._ended.get(update.ref)
        if tracked is None:
            raise InvariantViolation(f"an update of order {update.ref}, which this bot does not have")
        fill = tracked.take(update)
        if update.status in _QUIET and not fill.quantity:
            return
        if tracked.end is None:
            self._announce(tracked, update.status if not fill.quantity else OrderStatus.PARTIALLY_FILLED)
        if fill.quantity:
            self._execute(tracked, fill, update)
        if update.status.is_final and tracked.end is None:
            self._end(tracked, _ending(tracked, update), as_number(update.at))

    def _announce(self, tracked: TrackedOrder, status: OrderStatus) -> None:
        """Tell of the steps that come before a status, in Backtrader's order."""
        order = tracked.order
        if not tracked.is_submitted:
            tracked.is_submitted = True
            order.submit(order.broker)
            self._notify(order)
        if not tracked.is_accepted and status not in _BEFORE_ACCEPTED:
            tracked.is_accepted = True
            order.accept(order.broker)
            self._notify(order)

    def _execute(self, tracked: TrackedOrder, fill: NewFill, update: OrderUpdate) -> None:
        """Book a fill on position, order and trade as Backtrader's own broker does."""
        order = tracked.order
        signed = fill.quantity if order.isbuy() else -fill.quantity
        booked = self._holdings.book(tracked.terms.symbol, signed, float(fill.price), _naive(update.at))
        closed, opened = self._trades.book((tracked.terms.symbol, order.tradeid), booked)
        position = self._holdings.positions[tracked.terms.symbol]
        fees, price = order.comminfo, float(fill.price)
        closing_fee = fill.fee * booked.closed / signed
        order.execute(
            as_number(update.at),
            float(signed),
            price,
            closed,
            fees.getvaluesize(-closed, booked.price_before) if closed else 0.0,
            float(closing_fee),
            opened,
            fees.getvaluesize(opened, price) if opened else 0.0,
            float(fill.fee - closing_fee),
            fees.margin,
            fees.profitandloss(-closed, booked.price_before, price),
            position.size,
            position.price,
        )
        if update.status is OrderStatus.FILLED:
            order.executed.remsize = 0.0
        if tracked.end is not None:
            order.status = tracked.end  # a fill that was told late does not bring an order back to life
        elif update.status is OrderStatus.FILLED:
            self._end(tracked, bt.Order.Completed, as_number(update.at))
            return
        else:
            order.partial()
        self._notify(order)

    def _end(self, tracked: TrackedOrder, status: int, at: float) -> None:
        order = tracked.order
        tracked.end = order.status = status
        order.executed.dt = at
        self._notify(order)
        self._tracked.pop(order.ref, None)
        self._cancels.pop(order.ref, None)
        self._ended[order.ref] = tracked
        if len(self._ended) > _MOST_ENDED:
            self._ended.popitem(last=False)


def _ending(tracked: TrackedOrder, update: OrderUpdate) -> int:
    """Return Backtrader's status for a final one of ours."""
    valid_until = tracked.terms.valid_until
    match update.status:
        case OrderStatus.FILLED:
            status = bt.Order.Completed
        case OrderStatus.CANCELLED:
            is_expired = valid_until is not None and update.at >= valid_until
            status = bt.Order.Expired if is_expired else bt.Order.Canceled
        case _:
            status = bt.Order.Margin if update.lacks_cash else bt.Order.Rejected
    return int(status)


def _naive(at: datetime) -> datetime:
    naive: datetime = bt.num2date(as_number(at))
    return naive
