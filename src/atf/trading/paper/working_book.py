"""A book while something happens to it: fills, ends, and what follows for the orders tied to them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, OrderStatus
from atf.trading.paper.account import ZERO, BookChanges, PaperBook, PaperOrder
from atf.trading.paper.amounts import EXACT

_LEAST: Final = timedelta(microseconds=1)


class WorkingBook:
    """Changes a book step by step; ``began_at``: when what happens to it began, such as a bar's opening."""

    def __init__(self, book: PaperBook, began_at: datetime) -> None:
        self.cash = book.cash
        self._began_at = began_at
        self._positions = dict(book.positions)
        self._orders = {order.client_order_id: order for order in book.orders}
        self._fills: list[Fill] = []
        self._changed: dict[ClientOrderId, PaperOrder] = {}

    def changes(self) -> BookChanges:
        """Return all that has happened."""
        positions = {symbol: quantity for symbol, quantity in self._positions.items() if quantity}
        resting = tuple(order for order in self._orders.values() if not order.status.is_final)
        return BookChanges(
            PaperBook(self.cash, positions, resting), tuple(self._fills), tuple(self._changed.values())
        )

    def position(self, symbol: str) -> Decimal:
        """Return what is held now."""
        return self._positions.get(symbol, ZERO)

    def resting(self, symbol: str) -> Sequence[PaperOrder]:
        """Return the orders of a symbol that are not over, oldest first."""
        found = [one for one in self._orders.values() if one.terms.symbol == symbol and not one.status.is_final]
        return sorted(found, key=lambda order: order.number)

    def current(self, client_order_id: ClientOrderId) -> PaperOrder | None:
        """Return an order as it is now, None if it is over."""
        order = self._orders.get(client_order_id)
        return None if order is None or order.status.is_final else order

    def put(self, order: PaperOrder) -> None:
        """Replace an order by what has become of it."""
        self._orders[order.client_order_id] = order
        self._changed[order.client_order_id] = order

    def fill(self, order: PaperOrder, quantity: Decimal, price: Decimal, fee: Decimal, at: datetime) -> None:
        """Book a part of an order: cash, position, the order itself and those tied to it."""
        terms = order.terms
        fill = Fill(order.next_fill_id, order.client_order_id, terms.symbol, terms.side, quantity, price, fee, at)
        self._fills.append(fill)
        signed = EXACT.multiply(quantity, terms.side.sign)
        self._positions[terms.symbol] = EXACT.add(self.position(terms.symbol), signed)
        self.cash = EXACT.subtract(EXACT.subtract(self.cash, EXACT.multiply(signed, price)), fee)
        filled = EXACT.add(order.filled_quantity, quantity)
        is_all = filled == terms.quantity
        status = OrderStatus.FILLED if is_all else OrderStatus.PARTIALLY_FILLED
        order = replace(order, filled_quantity=filled, fill_count=order.fill_count + 1, status=status)
        self.put(order)
        self._end_group(order, "filled")
        if is_all:
            self._wake_children(order)

    def end(self, order: PaperOrder, status: OrderStatus, reason: str) -> None:
        """End an order that is not filled, with its children and its group."""
        self.put(replace(order, status=status, reason=reason))
        for child in self._children(order):
            self.end(child, OrderStatus.CANCELLED, f"its parent {order.client_order_id} was {status}")
        self._end_group(order, str(status))

    def _end_group(self, order: PaperOrder, how: str) -> None:
        if order.new.oco_group is None:
            return
        for other in list(self._orders.values()):
            is_another = other.client_order_id != order.client_order_id
            if is_another and other.new.oco_group == order.new.oco_group and not other.status.is_final:
                reason = f"{order.client_order_id} of its group was {how}"
                self.end(other, OrderStatus.CANCELLED, reason)

    def _wake_children(self, parent: PaperOrder) -> None:
        """Wake them for what opens later: where within its bar the parent was filled is not known."""
        for child in self._children(parent):
            active_from = max(child.active_from, self._began_at + _LEAST)
            self.put(replace(child, is_asleep=False, active_from=active_from))

    def _children(self, parent: PaperOrder) -> list[PaperOrder]:
        return [
            one
            for one in self._orders.values()
            if one.new.parent == parent.client_order_id and not one.status.is_final
        ]


def cancel(book: PaperBook, client_order_id: ClientOrderId, at: datetime) -> BookChanges:
    """Cancel an order on request, with its children and its group; nothing changes if it is over."""
    working = WorkingBook(book, at)
    order = working.current(client_order_id)
    if order is not None:
        working.end(order, OrderStatus.CANCELLED, "cancelled on request")
    return working.changes()
