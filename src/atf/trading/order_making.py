"""From what a strategy asks for to orders with names, checked for what they risk. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from atf.trading.book import BotBook
from atf.trading.bot import TradingState
from atf.trading.bot_messages import Answer, OrderRequest
from atf.trading.broker import Instrument
from atf.trading.order import (
    OWN_REF,
    BotId,
    ClientOrderId,
    NewOrder,
    Order,
    OrderStatus,
    OrderTerms,
    client_order_id,
)
from atf.trading.order_draft import OrderDraft
from atf.trading.risk import Refusal, RiskLimits, check


@dataclass(frozen=True, slots=True)
class MadeOrders:
    """What an answer became: the book with it, orders to send and such that were refused, and cancellations.

    ``beyond``: what was asked for beyond the orders that a bar has, of which nothing is kept.
    """

    book: BotBook
    to_send: Sequence[Order]
    refused: Sequence[Order]
    cancels: Sequence[Order]
    beyond: Sequence[OrderRequest] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether the strategy wants nothing."""
        return not (self.to_send or self.refused or self.cancels or self.beyond)

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
        order that was refused is refused, too. A bracket for which a bar has no room any more is left out whole.
        """
        if bar_at != book.last_bar_at:
            book = replace(book, last_bar_at=bar_at, order_number=0)
        draft = OrderDraft(book)
        to_send: list[Order] = []
        refused: list[Order] = []
        room = _whole(answer.orders, self.limits.max_orders_per_bar - book.order_number)
        for request in answer.orders[:room]:
            order = self._order(draft, book.bot_id, request, bar_at, state, now)
            (refused if order.status.is_final else to_send).append(order)
            draft.add(order)
        for request in answer.orders[room:]:
            draft.skip(request.ref)
        cancels = [
            replace(o, is_cancel_requested=True) for o in map(draft.by_ref, answer.cancels) if o is not None
        ]
        return MadeOrders(draft.book(cancels), to_send, refused, cancels, answer.orders[room:])

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
        self,
        draft: OrderDraft,
        bot_id: BotId,
        request: OrderRequest,
        bar_at: datetime,
        state: TradingState,
        now: datetime,
    ) -> Order:
        name = client_order_id(self.installation, bot_id, bar_at, draft.number)
        parent, sibling = draft.by_ref(request.parent_ref), draft.by_ref(request.oco_ref)
        checked = self._checked(draft, request, parent, state)
        is_refused = isinstance(checked, Refusal)
        return Order(
            bot_id=bot_id,
            ref=request.ref,
            bar_at=bar_at,
            number=draft.number,
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
        self, draft: OrderDraft, request: OrderRequest, parent: Order | None, state: TradingState
    ) -> OrderTerms | Refusal:
        symbol = request.terms.symbol
        instrument = self.instruments.get(symbol)
        if instrument is None:
            return Refusal(f"symbol: the bot trades {', '.join(self.instruments)}, not {symbol}")
        if request.parent_ref is not None and parent is None:
            return Refusal("the order that it depends on is not open")
        if not draft.has_price(symbol):
            return Refusal(f"{symbol} has no price yet")
        return check(request.terms, draft.view(request.terms, instrument, parent, state), self.limits)


def _whole(orders: Sequence[OrderRequest], room: int) -> int:
    """Return how many of the orders there is room for; no bracket is cut, as what is left out may be its stop."""
    most = max(0, min(room, len(orders)))
    if most == len(orders):
        return most
    parent = orders[most].parent_ref
    return next((place for place, order in enumerate(orders[:most]) if order.ref == parent), most)


_BOTH_LEGS: Final = "legs"


def _group(name: ClientOrderId, request: OrderRequest, parent: Order | None, sibling: Order | None) -> str | None:
    """Return the OCO group: children of one parent are one, as only one of them may close the position."""
    if sibling is not None:
        return sibling.new.oco_group or sibling.client_order_id
    if parent is not None:
        return f"{parent.client_order_id}-{_BOTH_LEGS}"
    return name if request.oco_ref is not None else None
