"""What an order is judged by while others are made is what a look at the whole book would say."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.trading.trading_fakes import BAR, BOT, INSTRUMENT, NOW, answer, request, terms

from atf.trading.book import BotBook
from atf.trading.bot import TradingState
from atf.trading.bot_messages import OrderRequest
from atf.trading.broker import Instrument
from atf.trading.order import ClientOrderId, NewOrder, Order, OrderStatus, OrderType, Side
from atf.trading.order_draft import OrderDraft
from atf.trading.order_making import OrderMaker
from atf.trading.position import Holding, Position
from atf.trading.risk import RiskLimits

SYMBOLS = ("AAPL", "MSFT")
MARKS = {"AAPL": Decimal(100), "MSFT": Decimal(50)}

amounts = st.integers(1, 9).map(Decimal)
order_terms = st.builds(
    lambda symbol, side, quantity, price: replace(
        terms(str(quantity), side),
        symbol=symbol,
        type=OrderType.MARKET if price is None else OrderType.LIMIT,
        limit_price=price,
    ),
    st.sampled_from(SYMBOLS),
    st.sampled_from(Side),
    amounts,
    st.none() | amounts,
)


def _order(ref: int, made: object, status: OrderStatus, parent: int | None) -> Order:
    above = None if parent is None else ClientOrderId(f"o{parent}")
    new = NewOrder(ClientOrderId(f"o{ref}"), made, None, above)  # type: ignore[arg-type]
    return Order(BOT, ref, BAR, ref, new, status, created_at=NOW)


orders = st.lists(
    st.tuples(
        order_terms,
        st.sampled_from([OrderStatus.INTENT, OrderStatus.ACCEPTED, OrderStatus.UNKNOWN, OrderStatus.REJECTED]),
        st.none() | st.integers(1, 3),
    ),
    max_size=8,
).map(lambda found: [_order(ref, *one) for ref, one in enumerate(found, 1)])
holdings = st.dictionaries(st.sampled_from(SYMBOLS), st.integers(-5, 5).map(Decimal)).map(
    lambda held: {symbol: Holding(Position(symbol, quantity)) for symbol, quantity in held.items()}
)


def _free(book: BotBook) -> Decimal:
    """What the open buys of a book may still cost, by its definition."""
    return sum(
        (
            order.remaining_quantity * (order.terms.limit_price or MARKS[order.terms.symbol])
            for order in book.orders.values()
            if order.terms.side is Side.BUY
            and book.holding(order.terms.symbol).position.quantity >= 0
            and order.new.parent is None
        ),
        Decimal(0),
    )


@given(orders, orders, holdings, st.sampled_from(SYMBOLS))
def test_sums_that_grow_order_by_order_are_those_of_the_book(
    before: list[Order], made: list[Order], held: dict[str, Holding], symbol: str
) -> None:
    made = [replace(order, ref=order.ref + 10, new=_renamed(order)) for order in made]
    open_before = {order.client_order_id: order for order in before if not order.status.is_final}
    draft = OrderDraft(BotBook(BOT, Decimal(1000), holdings=held, orders=open_before, marks=MARKS))
    for order in made:
        draft.add(order)
    book = draft.book()
    view = draft.view(terms(symbol=symbol), Instrument(symbol), None, TradingState.ACTIVE)
    assert view.pending_buys == book.pending(symbol, Side.BUY)
    assert view.pending_sells == book.pending(symbol, Side.SELL)
    assert view.reserved == _free(book)
    assert (view.open_orders, view.orders_at_bar) == (len(book.orders), len(made))
    unknown = [o.client_order_id for o in book.open_orders(symbol) if o.status is OrderStatus.UNKNOWN]
    assert view.awaited == next(iter(unknown), None)
    assert (view.cash, view.equity) == (book.cash, book.equity)
    assert book.next_ref == max((order.ref + 1 for order in made), default=1)
    for ref in range(20):
        assert draft.by_ref(ref) == book.by_ref(ref)


def _renamed(order: Order) -> NewOrder:
    return replace(order.new, client_order_id=ClientOrderId(f"new-{order.client_order_id}"))


def _made(*requests: OrderRequest, most: int) -> tuple[list[int], list[int]]:
    """The refs of what is sent, and of what a bar has no room for."""
    maker = OrderMaker("x", {"AAPL": INSTRUMENT}, RiskLimits(max_orders_per_bar=most))
    book = BotBook(BOT, Decimal(10_000), marks=MARKS)
    made = maker.make(book, answer(*requests), BAR, TradingState.ACTIVE, NOW)
    assert made.book.next_ref == max(one.ref for one in requests) + 1
    return [order.ref for order in made.to_send], [one.ref for one in made.beyond]


def test_a_bracket_is_cut_by_no_limit() -> None:
    stop = {"type": OrderType.STOP, "stop_price": Decimal(90), "parent_ref": 2}
    bracket = [request(2), request(3, "1", Side.SELL, **stop), request(4, "1", Side.SELL, **stop)]
    for most in (1, 2, 3):
        assert _made(request(1), *bracket, most=most) == ([1], [2, 3, 4])
    assert _made(request(1), *bracket, request(5), most=4) == ([1, 2, 3, 4], [5])
