"""A venue and books in memory, and short ways to say orders and fills."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from atf.trading.book import BotBook
from atf.trading.books import BotChange
from atf.trading.bot_messages import Answer, OrderRequest, OrderUpdate
from atf.trading.broker import Instrument, OpenState, VenueEvent, VenueOrder
from atf.trading.fill import Fill
from atf.trading.order import BotId, ClientOrderId, NewOrder, Order, OrderStatus, OrderTerms, OrderType, Side

BOT = BotId(1)
BAR = datetime(2026, 1, 5, tzinfo=UTC)
NOW = BAR + timedelta(days=1)
INSTRUMENT = Instrument("AAPL", Decimal("0.01"), Decimal("0.01"), Decimal("0.01"), Decimal(1))


def terms(quantity: str = "1", side: Side = Side.BUY, **changes: object) -> OrderTerms:
    return replace(OrderTerms("AAPL", side, OrderType.MARKET, Decimal(quantity)), **changes)  # type: ignore[arg-type]


def request(ref: int = 1, quantity: str = "1", side: Side = Side.BUY, **changes: object) -> OrderRequest:
    ties = {name: changes.pop(name) for name in ("oco_ref", "parent_ref") if name in changes}
    return OrderRequest(ref, terms(quantity, side, **changes), **ties)  # type: ignore[arg-type]


def answer(*orders: OrderRequest, cancels: Sequence[int] = (), number: int = 1) -> Answer:
    return Answer(number, orders, cancels, {"seen": number})


def a_fill(
    order: str, fill_id: str, quantity: str, price: str = "100", side: Side = Side.BUY, fee: str = "0"
) -> Fill:
    return Fill(fill_id, ClientOrderId(order), "AAPL", side, Decimal(quantity), Decimal(price), Decimal(fee), NOW)


class FixedClock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class MemoryBooks:
    """Keeps what is committed, in order; ``before_commit`` may look at what is going to be."""

    committed: list[BotChange] = field(default_factory=list)
    orders: dict[ClientOrderId, Order] = field(default_factory=dict)
    fills: set[str] = field(default_factory=set)
    error: Exception | None = None

    async def open(self, bot_id: BotId, capital: Decimal) -> None:
        raise AssertionError("nobody opens books here")

    async def load(self, bot_ids: Collection[BotId]) -> Mapping[BotId, BotBook]:
        return {BOT: self.committed[-1].book}

    async def commit(self, change: BotChange) -> None:
        if self.error is not None:
            raise self.error
        last = self.committed[-1].book.revision if self.committed else 0
        assert change.book.revision == last + 1
        assert not self.fills & {fill.venue_fill_id for fill in change.fills}, "a fill is booked twice"
        assert not set(self.orders) & {order.client_order_id for order in change.new_orders}
        self.fills |= {fill.venue_fill_id for fill in change.fills}
        self.orders |= {order.client_order_id: order for order in (*change.new_orders, *change.orders)}
        self.committed.append(change)

    async def order(self, bot_id: BotId, client_order_id: ClientOrderId) -> Order | None:
        return self.orders.get(client_order_id)

    async def has_fill(self, bot_id: BotId, venue_fill_id: str) -> bool:
        return venue_fill_id in self.fills


@dataclass
class ScriptedBroker:
    """A venue that does what a test says; it remembers how often each order was sent."""

    books: MemoryBooks
    visibility_delay: timedelta = timedelta(seconds=10)
    sent: dict[ClientOrderId, int] = field(default_factory=lambda: defaultdict(int))
    cancelled: list[ClientOrderId] = field(default_factory=list)
    acknowledgement: Exception | OrderStatus = OrderStatus.ACCEPTED
    known: dict[ClientOrderId, VenueOrder] = field(default_factory=dict)
    filled: dict[ClientOrderId, list[Fill]] = field(default_factory=lambda: defaultdict(list))
    held: dict[str, Decimal] = field(default_factory=dict)
    unavailable: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Orders arrive when it is open, as it is at first."""

    def __post_init__(self) -> None:
        self.gate.set()

    async def instrument(self, symbol: str) -> Instrument:
        return replace(INSTRUMENT, symbol=symbol)

    async def submit(self, order: NewOrder) -> VenueOrder:
        assert order.client_order_id in self.books.orders, "it is sent before it is committed"
        self.sent[order.client_order_id] += 1
        await self.gate.wait()
        if isinstance(self.acknowledgement, Exception):
            raise self.acknowledgement
        return self.know(order.client_order_id, self.acknowledgement)

    def know(self, name: ClientOrderId, status: OrderStatus, filled: str = "0") -> VenueOrder:
        self.known[name] = VenueOrder(name, f"v-{name}", "AAPL", status, Decimal(filled))
        return self.known[name]

    async def cancel(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder:
        self.cancelled.append(client_order_id)
        return self.know(client_order_id, OrderStatus.CANCELLED)

    async def order(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder | None:
        if self.unavailable is not None:
            raise self.unavailable
        return self.known.get(client_order_id)

    async def fills_of(self, client_order_id: ClientOrderId, symbol: str) -> Sequence[Fill]:
        return self.filled[client_order_id]

    async def open_state(self) -> OpenState:
        if self.unavailable is not None:
            raise self.unavailable
        return OpenState(self.held, [], Decimal(0), NOW)

    async def events(self) -> AsyncIterator[VenueEvent]:
        await asyncio.Event().wait()
        yield VenueOrder(ClientOrderId(""), "", "", OrderStatus.LOST)

    async def told(self) -> None:
        return

    async def close(self) -> None:
        return


@dataclass
class Strategy:
    """What a strategy is told."""

    heard: list[OrderUpdate] = field(default_factory=list)

    async def tell(self, updates: Sequence[OrderUpdate], book: BotBook) -> None:
        self.heard += updates

    @property
    def statuses(self) -> list[OrderStatus]:
        return [update.status for update in self.heard]
