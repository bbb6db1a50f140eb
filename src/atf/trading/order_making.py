"""From what a strategy asks for to orders with names, checked for what they risk. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from atf.trading.book import BotBook, with_orders
from atf.trading.bot import TradingState
from atf.trading.bot_messages import Answer, OrderRequest
from atf.trading.broker import Instrument
from atf.trading.order import (
    OWN_REF,
    ClientOrderId,
    NewOrder,
    Order,
    OrderStatus,
    OrderTerms,
    Side,
    client_order_id,
)
from atf.trading.position import ZERO
from atf.trading.risk import Refusal, RiskLimits, RiskView, check


@dataclass(frozen=True, slots=True)
class MadeOrders:
    """What an answer became: the book with it, orders to send and such that were refused, and cancellations."""

    book: BotBook
    to_send: Sequence[Order]
    refused: Sequence[Order]
    cancels: Sequence[Order]

    @property
    def is_nothing(self) -> bool:
        """Whether the strategy wants nothing."""
        return not (self.to_send or self.refused or self.cancels)

    def chains(self) -> Sequence[Sequence[Order]]:
        """Return the orders to send, those that depend on each other together, parents first."""
        chains: dict[ClientOrderId, list[Order]] = {}
        for order in self.to_send:
            root = order.new.parent if order.new.parent in chains else order.client_order_id
            chains.setdefault(root or order.client_order_id, []).append(order)
        return list(chains.values())


@dataclass(frozen=True, slots=True)
class OrderMaker:
    """Names and checks one bot's orders."""

    installation: str
    instruments: Mapping[str, Instrument]
    limits: RiskLimits

    def make(
        self, book: BotBook, answer: Answer, bar_at: datetime, state: TradingState, now: datetime
    ) -> MadeOrders:
        """Return what an answer becomes.

        Each order is checked with those before it in the book, as if they were sent already. What depends on an
        order that was refused is refused, too.
        """
        if bar_at != book.last_bar_at:
            book = replace(book, last_bar_at=bar_at, order_number=0)
        to_send: list[Order] = []
        refused: list[Order] = []
        for request in answer.orders:
            order = self._order(book, request, bar_at, state, now)
            (refused if order.status.is_final else to_send).append(order)
            number, ref = book.order_number + 1, max(book.next_ref, request.ref + 1)
            book = with_orders(replace(book, order_number=number, next_ref=ref), [order])
        cancels = [
            replace(o, is_cancel_requested=True) for o in map(book.by_ref, answer.cancels) if o is not None
        ]
        return MadeOrders(with_orders(book, cancels), to_send, refused, cancels)

    def own(self, book: BotBook, terms: OrderTerms, now: datetime) -> Order:
        """Return an order that the service makes itself; the strategy knows nothing of it."""
        bar_at = book.last_bar_at or now.replace(microsecond=0)
        name = client_order_id(self.installation, book.bot_id, bar_at, book.order_number)
        return Order(
            book.bot_id,
            OWN_REF,
            bar_at,
            book.order_number,
            NewOrder(name, terms),
            OrderStatus.INTENT,
            created_at=now,
        )

    def _order(
        self, book: BotBook, request: OrderRequest, bar_at: datetime, state: TradingState, now: datetime
    ) -> Order:
        name = client_order_id(self.installation, book.bot_id, bar_at, book.order_number)
        parent = None if request.parent_ref is None else book.by_ref(request.parent_ref)
        sibling = None if request.oco_ref is None else book.by_ref(request.oco_ref)
        checked = self._checked(book, request, parent, state)
        is_refused = isinstance(checked, Refusal)
        return Order(
            bot_id=book.bot_id,
            ref=request.ref,
            bar_at=bar_at,
            number=book.order_number,
            new=NewOrder(
                name,
                request.terms if isinstance(checked, Refusal) else checked,
                _group(name, request, parent, sibling),
                None if parent is None else parent.client_order_id,
            ),
            status=OrderStatus.REJECTED if is_refused else OrderStatus.INTENT,
            reason=f"risk: {checked.reason}" if isinstance(checked, Refusal) else None,
            created_at=now,
        )

    def _checked(
        self, book: BotBook, request: OrderRequest, parent: Order | None, state: TradingState
    ) -> OrderTerms | Refusal:
        symbol = request.terms.symbol
        instrument = self.instruments.get(symbol)
        if instrument is None:
            return Refusal(f"symbol: the bot trades {', '.join(self.instruments)}, not {symbol}")
        if request.parent_ref is not None and parent is None:
            return Refusal("the order that it depends on is not open")
        if symbol not in book.marks:
            return Refusal(f"{symbol} has no price yet")
        return check(request.terms, self._view(book, request.terms, instrument, parent, state), self.limits)

    def _view(
        self,
        book: BotBook,
        terms: OrderTerms,
        instrument: Instrument,
        parent: Order | None,
        state: TradingState,
    ) -> RiskView:
        position = book.holding(terms.symbol).position.quantity
        if parent is not None:  # it wakes up when the parent is filled
            position += parent.terms.side.sign * parent.remaining_quantity
        awaited = next((o for o in book.open_orders(terms.symbol) if o.status is OrderStatus.UNKNOWN), None)
        return RiskView(
            trading_state=state,
            instrument=instrument,
            position=position,
            last_price=book.marks[terms.symbol],
            cash=book.cash,
            equity=book.equity,
            highest_equity=book.highest_equity,
            pending_buys=book.pending(terms.symbol, Side.BUY),
            pending_sells=book.pending(terms.symbol, Side.SELL),
            reserved=_reserved(book),
            open_orders=len(book.orders),
            orders_at_bar=book.order_number,
            awaited=None if awaited is None else awaited.client_order_id,
        )


_BOTH_LEGS: Final = "legs"


def _group(name: ClientOrderId, request: OrderRequest, parent: Order | None, sibling: Order | None) -> str | None:
    """Return the OCO group: children of one parent are one, as only one of them may close the position."""
    if sibling is not None:
        return sibling.new.oco_group or sibling.client_order_id
    if parent is not None:
        return f"{parent.client_order_id}-{_BOTH_LEGS}"
    return name if request.oco_ref is not None else None


def _reserved(book: BotBook) -> Decimal:
    """Return what open buys may still cost that do not close a short position."""
    total = ZERO
    for order in book.orders.values():
        terms, held = order.terms, book.holding(order.terms.symbol).position.quantity
        if terms.side is Side.BUY and held >= 0 and order.new.parent is None:
            price = terms.limit_price or terms.stop_price or book.marks.get(terms.symbol, ZERO)
            total += order.remaining_quantity * price
    return total
