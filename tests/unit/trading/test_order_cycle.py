"""The way of an order, whatever the venue does: committed before it is sent, sent once, ended for sure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.unit.trading.trading_fakes import (
    BAR,
    BOT,
    INSTRUMENT,
    NOW,
    FixedClock,
    MemoryBooks,
    ScriptedBroker,
    Strategy,
    a_fill,
    answer,
    request,
)

from atf.errors import IllegalTransition
from atf.trading.book import BotBook
from atf.trading.bot import TradingState
from atf.trading.broker import OrderRejected, OrderStatusUnknown, VenueUnavailable
from atf.trading.order import ClientOrderId, Order, OrderStatus, OrderType, Side, client_order_id
from atf.trading.order_cycle import OrderCycle, OrderDesk
from atf.trading.risk import RiskLimits

FIRST = client_order_id("x", BOT, BAR, 0)
SECOND = client_order_id("x", BOT, BAR, 1)
THIRD = client_order_id("x", BOT, BAR, 2)


@dataclass
class Desk:
    """A bot's orders with everything around them."""

    cycle: OrderCycle
    books: MemoryBooks
    broker: ScriptedBroker
    strategy: Strategy
    clock: FixedClock
    failures: list[BaseException]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - nobody tells when a fake has changed
                await asyncio.sleep(0.005)

    def order(self, name: ClientOrderId = FIRST) -> Order:
        return self.books.orders[name]

    async def take(self, *requests: object, cancels: tuple[int, ...] = (), is_bar: bool = True) -> None:
        await self.cycle.take(answer(*requests, cancels=cancels), BAR, is_bar=is_bar)  # type: ignore[arg-type]

    async def is_(self, status: OrderStatus, name: ClientOrderId = FIRST) -> None:
        await self.until(lambda: self.order(name).status is status)


def desk_of(book: BotBook, limits: RiskLimits | None = None) -> Desk:
    books, strategy, clock = MemoryBooks(), Strategy(), FixedClock()
    books.orders |= book.orders
    broker, failures = ScriptedBroker(books), list[BaseException]()
    wired = OrderDesk(books, broker, clock, {"AAPL": INSTRUMENT}, limits or RiskLimits(), "x")
    return Desk(OrderCycle(book, wired, strategy.tell, failures.append), books, broker, strategy, clock, failures)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = desk_of(BotBook(BOT, Decimal(10_000), marks={"AAPL": Decimal(100)}))
    yield made
    await made.cycle.close()
    assert made.failures == []
    assert all(count == 1 for count in made.broker.sent.values()), "an order was sent twice"


async def test_an_order_is_committed_with_the_bar_and_the_state_then_sent_then_acknowledged(desk: Desk) -> None:
    await desk.take(request(1, "2"))
    await desk.is_(OrderStatus.ACCEPTED)
    first, acknowledged = desk.books.committed
    assert first.is_bar
    assert (first.book.last_bar_at, first.book.state, first.book.order_number) == (BAR, {"seen": 1}, 1)
    assert [order.status for order in first.new_orders] == [OrderStatus.INTENT]
    assert acknowledged.orders[0].venue_order_id == f"v-{FIRST}"
    assert desk.strategy.statuses == [OrderStatus.ACCEPTED]


async def test_fills_are_booked_once_and_in_any_order_with_the_acknowledgement(desk: Desk) -> None:
    await desk.take(request(1, "2"))
    await desk.cycle.tracker.on_event(a_fill(FIRST, "f1", "0.5", "100", fee="0.1"))
    await desk.cycle.tracker.on_event(a_fill(FIRST, "f2", "1.5", "104", fee="0.3"))
    await desk.cycle.tracker.on_event(a_fill(FIRST, "f1", "0.5", "100", fee="0.1"))
    await desk.until(lambda: desk.broker.sent)
    assert desk.order().status is OrderStatus.FILLED
    book = desk.cycle.book
    assert (book.cash, book.orders) == (10_000 - 50 - 156 - Decimal("0.4"), {})
    assert book.holding("AAPL").position.average_price == 103
    last = desk.strategy.heard[-1]
    assert last.status is OrderStatus.FILLED
    assert (last.filled_quantity, last.price, last.last_quantity) == (Decimal(2), Decimal(103), Decimal("1.5"))


async def test_a_fill_that_is_told_after_the_cancellation_is_booked_all_the_same(desk: Desk) -> None:
    await desk.take(request(1, "2", type=OrderType.LIMIT, limit_price=Decimal(90)))
    await desk.is_(OrderStatus.ACCEPTED)
    await desk.take(cancels=(1,), is_bar=False)
    await desk.is_(OrderStatus.CANCELLED)
    assert desk.broker.cancelled == [FIRST]
    await desk.cycle.tracker.on_event(a_fill(FIRST, "f1", "1", "90"))
    assert (desk.order().status, desk.order().filled_quantity) == (OrderStatus.CANCELLED, Decimal(1))
    assert desk.cycle.book.holding("AAPL").position.quantity == 1


@pytest.mark.parametrize(
    ("attempt", "status"),
    [
        (OrderRejected("no"), OrderStatus.REJECTED),
        (VenueUnavailable("not now"), OrderStatus.LOST),
        (OrderStatusUnknown("timed out"), OrderStatus.UNKNOWN),
        (ZeroDivisionError("a defect"), OrderStatus.UNKNOWN),
        (OrderStatus.REJECTED, OrderStatus.REJECTED),
    ],
)
async def test_only_a_definite_refusal_is_a_rejection(
    desk: Desk, attempt: Exception | OrderStatus, status: OrderStatus
) -> None:
    desk.broker.acknowledgement = attempt
    await desk.take(request())
    await desk.is_(status)
    told = [] if status is OrderStatus.UNKNOWN else [status]
    await desk.until(lambda: desk.strategy.statuses == told)


async def test_what_nobody_knows_is_looked_up_and_its_symbol_waits(desk: Desk) -> None:
    desk.broker.acknowledgement = OrderStatusUnknown("timed out")
    await desk.take(request(1, "2"))
    await desk.is_(OrderStatus.UNKNOWN)
    await desk.take(request(2), is_bar=False)
    assert desk.order(SECOND).status is OrderStatus.REJECTED
    assert FIRST in str(desk.order(SECOND).reason)
    desk.broker.filled[FIRST] = [a_fill(FIRST, "f1", "2")]
    desk.broker.know(FIRST, OrderStatus.FILLED, "2")
    await desk.is_(OrderStatus.FILLED)
    assert desk.cycle.book.holding("AAPL").position.quantity == 2
    assert dict(desk.broker.sent) == {FIRST: 1}


async def test_an_order_that_the_venue_has_told_of_is_not_unknown_because_its_answer_is_lost(desk: Desk) -> None:
    desk.broker.gate.clear()
    desk.broker.acknowledgement = OrderStatusUnknown("timed out")
    await desk.take(request(1, "2"))
    await desk.until(lambda: desk.broker.sent)
    await desk.cycle.tracker.on_event(desk.broker.know(FIRST, OrderStatus.ACCEPTED))
    desk.broker.gate.set()
    await desk.cycle.close()
    assert desk.order().status is OrderStatus.ACCEPTED
    assert desk.strategy.statuses == [OrderStatus.ACCEPTED]


async def test_an_order_that_the_venue_does_not_know_is_lost_when_it_would_have_to(desk: Desk) -> None:
    desk.broker.acknowledgement = OrderStatusUnknown("timed out")
    await desk.take(request())
    await desk.is_(OrderStatus.UNKNOWN)
    await asyncio.sleep(0.5)
    assert desk.order().status is OrderStatus.UNKNOWN, "the venue may still come to know it"
    desk.clock.at += timedelta(seconds=10)
    await desk.is_(OrderStatus.LOST)
    assert desk.strategy.statuses == [OrderStatus.LOST]


async def test_fills_that_an_order_counts_are_asked_for_if_nobody_tells_them(desk: Desk) -> None:
    await desk.take(request(1, "2"))
    await desk.is_(OrderStatus.ACCEPTED)
    desk.broker.filled[FIRST] = [a_fill(FIRST, "f1", "2")]
    await desk.cycle.tracker.on_event(desk.broker.know(FIRST, OrderStatus.FILLED, "2"))
    assert desk.order().status is OrderStatus.ACCEPTED, "what is filled follows from the fills"
    await desk.is_(OrderStatus.FILLED)


async def test_what_risk_refuses_is_written_down_told_and_not_sent(desk: Desk) -> None:
    await desk.take(request(1, "1000"), request(2, "1"))
    await desk.is_(OrderStatus.ACCEPTED, SECOND)
    assert desk.order().status is OrderStatus.REJECTED
    assert "not enough capital" in str(desk.order().reason)
    assert dict(desk.broker.sent) == {SECOND: 1}
    assert (desk.strategy.heard[0].ref, desk.strategy.heard[0].status) == (1, OrderStatus.REJECTED)


async def test_of_a_flood_as_much_is_kept_as_a_bar_has_and_the_rest_is_one_event() -> None:
    book = BotBook(BOT, Decimal(10_000), marks={"AAPL": Decimal(100)})
    desk = desk_of(book, RiskLimits(max_orders_per_bar=2))
    await desk.cycle.take(replace(answer(*map(request, range(1, 6))), refused=90), BAR, is_bar=True)
    await desk.is_(OrderStatus.ACCEPTED, SECOND)
    (change, *_) = desk.books.committed
    assert [order.ref for order in change.new_orders] == [1, 2]
    told = [(event.kind, event.level, event.text) for event in change.events]
    assert told == [("refused", "warning", "93 orders: a bar has 2 at most (risk.max_orders_per_bar)")]
    refused = [(one.ref, one.status) for one in desk.strategy.heard[:3]]
    assert refused == [(ref, OrderStatus.REJECTED) for ref in (3, 4, 5)]
    assert (change.book.next_ref, change.book.order_number) == (6, 2)
    await desk.take(request(6), is_bar=False)
    await desk.cycle.take(replace(answer(), refused=1), BAR, is_bar=False)
    assert [len(one.events) for one in desk.books.committed[-2:]] == [1, 1], "news of orders count with their bar"
    assert len(desk.books.orders) == 2
    await desk.cycle.close()


async def test_the_children_of_a_bracket_go_out_behind_their_parent_as_one_group(desk: Desk) -> None:
    await desk.take(
        request(1, "1"),
        request(2, "1", Side.SELL, type=OrderType.STOP, stop_price=Decimal(90), parent_ref=1),
        request(3, "1", Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(110), parent_ref=1),
    )
    await desk.is_(OrderStatus.ACCEPTED, THIRD)
    assert list(desk.broker.sent) == [FIRST, SECOND, THIRD]
    assert desk.order(SECOND).new.parent == desk.order(THIRD).new.parent == FIRST
    assert desk.order(SECOND).new.oco_group == desk.order(THIRD).new.oco_group is not None


@pytest.mark.parametrize("attempt", [OrderRejected("no"), OrderStatusUnknown("timed out")])
async def test_children_are_not_sent_when_their_parent_did_not_go_out(desk: Desk, attempt: Exception) -> None:
    desk.broker.acknowledgement = attempt
    await desk.take(
        request(1, "1"), request(2, "1", Side.SELL, type=OrderType.STOP, stop_price=Decimal(90), parent_ref=1)
    )
    await desk.is_(OrderStatus.CANCELLED, SECOND)
    assert dict(desk.broker.sent) == {FIRST: 1}


async def test_a_paused_bot_may_close_what_it_holds_and_nothing_else(desk: Desk) -> None:
    await desk.take(request(1, "2"))
    await desk.cycle.tracker.on_event(a_fill(FIRST, "f1", "2"))
    desk.cycle.trading_state = TradingState.REDUCING
    await desk.take(request(2, "1"), request(3, "2", Side.SELL), is_bar=False)
    await desk.is_(OrderStatus.ACCEPTED, THIRD)
    assert "paused" in str(desk.order(SECOND).reason)
    desk.cycle.trading_state = TradingState.HALTED
    await desk.take(request(4, "2", Side.SELL), is_bar=False)
    assert desk.order(client_order_id("x", BOT, BAR, 3)).status is OrderStatus.REJECTED


async def test_a_bar_without_orders_is_committed_and_a_notification_without_any_is_not(desk: Desk) -> None:
    await desk.take()
    await desk.take(is_bar=False)
    assert [change.is_bar for change in desk.books.committed] == [True]


async def test_an_order_is_unheard_until_what_the_strategy_keeps_knows_of_its_end(desk: Desk) -> None:
    await desk.take(request(1), request(2))
    await desk.is_(OrderStatus.ACCEPTED, SECOND)
    await desk.cycle.tracker.on_event(a_fill(FIRST, "f1", "1"))
    first_end = desk.cycle.book.revision
    await desk.cycle.tracker.on_event(a_fill(SECOND, "f2", "1"))
    assert dict(desk.cycle.book.unheard) == {FIRST: first_end, SECOND: first_end + 1}
    await desk.cycle.take(answer(), BAR + timedelta(days=1), is_bar=True, heard=first_end - 1)
    assert set(desk.books.committed[-1].book.unheard) == {FIRST, SECOND}
    await desk.cycle.take(answer(), BAR + timedelta(days=2), is_bar=True, heard=first_end)
    assert set(desk.books.committed[-1].book.unheard) == {SECOND}
    await desk.cycle.take(answer(), BAR + timedelta(days=3), is_bar=True, heard=first_end + 1)
    assert not desk.books.committed[-1].book.unheard


async def test_orders_of_a_later_answer_to_the_same_bar_have_names_of_their_own(desk: Desk) -> None:
    await desk.take(request(1))
    await desk.take(request(2), is_bar=False)
    await desk.is_(OrderStatus.ACCEPTED, SECOND)
    await desk.cycle.take(answer(request(3)), BAR + timedelta(days=1), is_bar=True)
    await desk.is_(OrderStatus.ACCEPTED, client_order_id("x", BOT, BAR + timedelta(days=1), 0))


@pytest.mark.parametrize("status", [OrderStatus.INTENT, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN])
@pytest.mark.parametrize("is_known", [True, False])
async def test_a_start_asks_for_each_open_order_and_sends_none(status: OrderStatus, is_known: bool) -> None:
    before = desk_of(BotBook(BOT, Decimal(10_000), marks={"AAPL": Decimal(100)}))
    await before.take(request(1, "2"))
    await before.is_(OrderStatus.ACCEPTED)
    await before.cycle.close()
    open_order = replace(before.order(), status=status)
    desk = desk_of(BotBook(BOT, Decimal(10_000), orders={FIRST: open_order}))
    if is_known:
        desk.broker.know(FIRST, OrderStatus.FILLED, "2")
        desk.broker.filled[FIRST] = [a_fill(FIRST, "f1", "0.5"), a_fill(FIRST, "f2", "1.5")]
    else:
        desk.clock.at += timedelta(seconds=10)
    await desk.cycle.tracker.look_up()
    assert desk.order().status is (OrderStatus.FILLED if is_known else OrderStatus.LOST)
    assert desk.cycle.book.orders == {}
    assert desk.broker.sent == {}
    committed = len(desk.books.committed)
    await desk.cycle.tracker.look_up()
    assert len(desk.books.committed) == committed, "done twice, it changes nothing"
    await desk.cycle.close()


async def test_what_was_filled_while_nobody_looked_is_booked_in_the_order_of_time() -> None:
    before = desk_of(BotBook(BOT, Decimal(10_000), marks={"AAPL": Decimal(100)}))
    await before.take(request(1, "1", Side.SELL), request(2, "1"), request(3, "1"))
    await before.is_(OrderStatus.ACCEPTED, THIRD)
    await before.cycle.close()
    desk = desk_of(BotBook(BOT, Decimal(10_000), orders=before.cycle.book.orders))
    for minutes, name, side in ((3, FIRST, Side.SELL), (1, SECOND, Side.BUY), (3, THIRD, Side.BUY)):
        fill = a_fill(name, f"f-{name}", "1", side=side)
        desk.broker.filled[name] = [replace(fill, filled_at=NOW + timedelta(minutes=minutes))]
        desk.broker.know(name, OrderStatus.FILLED, "1")
    await desk.cycle.tracker.look_up()
    booked = [fill.client_order_id for change in desk.books.committed for fill in change.fills]
    assert booked == [SECOND, FIRST, THIRD], "of two at the same instant the older order's comes first"
    await desk.cycle.close()


async def test_what_cannot_be_is_told_and_not_booked() -> None:
    desk = desk_of(BotBook(BOT, Decimal(10_000), marks={"AAPL": Decimal(100)}))
    await desk.take(request(1, "2"))
    await desk.is_(OrderStatus.ACCEPTED)
    with pytest.raises(IllegalTransition):
        await desk.cycle.tracker.on_event(desk.broker.know(FIRST, OrderStatus.INTENT))
    await desk.cycle.close()


async def test_an_order_on_its_way_is_not_taken_for_lost_because_the_venue_does_not_know_it_yet(
    desk: Desk,
) -> None:
    desk.broker.gate.clear()
    desk.broker.visibility_delay = timedelta(0)
    await desk.take(request(1, "2"))
    await desk.until(lambda: desk.broker.sent)
    await desk.cycle.tracker.look_up()  # as when a connection came back, or positions differ
    assert desk.order().status is OrderStatus.INTENT
    desk.broker.gate.set()
    await desk.is_(OrderStatus.ACCEPTED)


async def test_the_end_of_a_bot_waits_for_what_is_on_its_way() -> None:
    desk = desk_of(BotBook(BOT, Decimal(10_000), marks={"AAPL": Decimal(100)}))
    desk.broker.gate.clear()
    await desk.take(request(1, "2"))
    await desk.until(lambda: desk.broker.sent)
    closing = asyncio.create_task(desk.cycle.close())
    await asyncio.sleep(0.05)
    desk.broker.gate.set()
    await closing
    assert desk.order().status is OrderStatus.ACCEPTED
