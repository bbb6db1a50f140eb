"""OrderDraft: a book while the orders of one answer are made, one after the other. Pure but for itself.

Each order is judged with those before it, as if they were sent already. The sums for that are kept here: to
reckon them anew for each order took two seconds where a bot made a thousand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from atf.trading.book import BotBook, with_orders
from atf.trading.bot import TradingState
from atf.trading.broker import Instrument
from atf.trading.order import ClientOrderId, Order, OrderStatus, OrderTerms, Side
from atf.trading.position import ZERO
from atf.trading.risk import RiskView


class OrderDraft:
    """The book that it began with, and what has been made since.

    ``number``: of the next order at this bar. ``next_ref``: how the strategy calls its next one.
    """

    def __init__(self, book: BotBook) -> None:
        self._book = book
        self._equity = book.equity
        self._made: list[Order] = []
        self._by_ref: dict[int, Order] = {}
        self._pending: dict[tuple[str, Side], Decimal] = defaultdict(Decimal)
        self._awaited: dict[str, ClientOrderId] = {}
        self._reserved = ZERO
        self._open = 0
        self.number = book.order_number
        self.next_ref = book.next_ref
        for order in book.orders.values():
            self._count(order)

    def add(self, order: Order) -> None:
        """Take in an order, whether it is to be sent or was refused."""
        self.number += 1
        self.skip(order.ref)
        if not order.status.is_final:
            self._made.append(order)
            self._count(order)

    def skip(self, ref: int) -> None:
        """Let no later order be called so."""
        self.next_ref = max(self.next_ref, ref + 1)

    def by_ref(self, ref: int | None) -> Order | None:
        """Return the open order that the strategy calls so."""
        return None if ref is None else self._by_ref.get(ref)

    def has_price(self, symbol: str) -> bool:
        """Return whether anything is known of a symbol's price."""
        return symbol in self._book.marks

    def view(
        self, terms: OrderTerms, instrument: Instrument, parent: Order | None, state: TradingState
    ) -> RiskView:
        """Return what an order is judged by; its symbol has a price."""
        symbol, book = terms.symbol, self._book
        position = book.holding(symbol).position.quantity
        if parent is not None:  # it wakes up when the parent is filled
            position += parent.terms.side.sign * parent.remaining_quantity
        return RiskView(
            trading_state=state,
            instrument=instrument,
            position=position,
            last_price=book.marks[symbol],
            cash=book.cash,
            equity=self._equity,
            highest_equity=book.highest_equity,
            pending_buys=self._pending[symbol, Side.BUY],
            pending_sells=self._pending[symbol, Side.SELL],
            reserved=self._reserved,
            open_orders=self._open,
            orders_at_bar=self.number,
            awaited=self._awaited.get(symbol),
        )

    def book(self, changed: Iterable[Order] = ()) -> BotBook:
        """Return the book with all that was made, and with orders that have changed besides."""
        book = replace(self._book, order_number=self.number, next_ref=self.next_ref)
        return with_orders(book, [*self._made, *changed])

    def _count(self, order: Order) -> None:
        terms = order.terms
        self._by_ref.setdefault(order.ref, order)
        self._pending[terms.symbol, terms.side] += order.remaining_quantity
        self._reserved += self._cost(order)
        self._open += 1
        if order.status is OrderStatus.UNKNOWN:
            self._awaited.setdefault(terms.symbol, order.client_order_id)

    def _cost(self, order: Order) -> Decimal:
        """Return what an open buy may still cost; nothing if it closes a short position."""
        terms, held = order.terms, self._book.holding(order.terms.symbol).position.quantity
        if terms.side is not Side.BUY or held < 0 or order.new.parent is not None:
            return ZERO
        price = terms.limit_price or terms.stop_price or self._book.marks.get(terms.symbol, ZERO)
        return order.remaining_quantity * price
