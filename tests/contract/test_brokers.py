"""What every broker promises to the order path, over the paper venue and over a venue behind HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.contract.broker_stands import STANDS, Stand
from tests.paper_bars import BTC, new

from atf.errors import NotFound
from atf.storage.database import Database
from atf.trading.broker import (
    OrderRejected,
    OrderStatusUnknown,
    VenueEvent,
    VenueOrder,
    VenueUnavailable,
)
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, OrderStatus

FLAT = (100.0, 100.0, 100.0, 100.0)
X = ClientOrderId("atf1-a-b-c")
ENOUGH = timedelta(seconds=10)


@pytest.fixture(params=STANDS, ids=lambda one: one.name)
async def stand(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Stand]:
    kind: type[Stand] = request.param
    async with kind.open(database) as made:
        yield made
        await made.broker.close()


class Listener:
    """Collects events until it is told to end."""

    def __init__(self, stand: Stand) -> None:
        self.events: list[VenueEvent] = []
        self._more = asyncio.Condition()
        self.task = asyncio.create_task(self._listen(stand.broker.events()))

    async def _listen(self, events: AsyncIterator[VenueEvent]) -> None:
        async for event in events:
            async with self._more:
                self.events.append(event)
                self._more.notify_all()

    async def until(self, count: int) -> list[VenueEvent]:
        async with asyncio.timeout(ENOUGH.total_seconds()), self._more:
            await self._more.wait_for(lambda: len(self.events) >= count)
        return self.events


@pytest.fixture
async def listener(stand: Stand) -> AsyncIterator[Listener]:
    made = Listener(stand)
    await stand.until_followed()
    yield made
    made.task.cancel()
    with suppress(asyncio.CancelledError, VenueUnavailable):
        await made.task


async def test_an_order_is_acknowledged_and_found_under_its_name(stand: Stand) -> None:
    taken = await stand.broker.submit(new(X, "buy", "market"))
    assert (taken.client_order_id, taken.symbol, taken.status) == (X, BTC, OrderStatus.ACCEPTED)
    assert taken.venue_order_id
    assert await stand.broker.order(X, BTC) == taken


async def test_a_name_is_taken_once_and_answers_with_the_first_order(stand: Stand) -> None:
    first = await stand.broker.submit(new(X, "buy", "market"))
    assert await stand.broker.submit(new(X, "sell", "market", "3")) == first
    await stand.bar(*FLAT)
    assert dict((await stand.broker.open_state()).positions) == {BTC: Decimal(1)}
    assert (await stand.broker.submit(new(X, "buy", "market"))).status is OrderStatus.FILLED


async def test_names_that_come_at_once_are_taken_once(stand: Stand) -> None:
    answers = await asyncio.gather(*(stand.broker.submit(new(X, "buy", "market")) for _ in range(5)))
    assert len({answer.venue_order_id for answer in answers}) == 1


async def test_a_refused_order_says_why_and_stays_refused(stand: Stand) -> None:
    for _ in range(2):
        with pytest.raises(OrderRejected, match=r"quantity 0\.0005 is not a multiple of the step 0\.001"):
            await stand.broker.submit(new(X, "buy", "market", "0.0005"))
    known = await stand.broker.order(X, BTC)
    assert known is not None
    assert known.status is OrderStatus.REJECTED
    await stand.bar(*FLAT)
    assert await stand.broker.fills_of(X, BTC) == []


async def test_a_refusal_of_the_venue_leaves_nothing(stand: Stand) -> None:
    stand.fail_next("reject")
    with pytest.raises(OrderRejected, match="as it was told to"):
        await stand.broker.submit(new(X, "buy", "market"))
    assert await stand.broker.order(X, BTC) is None


@pytest.mark.parametrize("field", ["quantity", "name"])
async def test_an_order_that_is_none_is_rejected_and_harms_no_other(stand: Stand, field: str) -> None:
    odd = new(X, "buy", "market", "NaN") if field == "quantity" else new("x\x00y", "buy", "market")
    good = new("good", "buy", "market")
    answers = await asyncio.gather(stand.broker.submit(odd), stand.broker.submit(good), return_exceptions=True)
    assert isinstance(answers[0], OrderRejected)
    assert isinstance(answers[1], VenueOrder)


async def test_cancelling_ends_an_order_and_says_how_it_stands(stand: Stand) -> None:
    await stand.broker.submit(new(X, "buy", "limit", limit_price="90"))
    assert (await stand.broker.cancel(X, BTC)).status is OrderStatus.CANCELLED
    assert (await stand.broker.cancel(X, BTC)).status is OrderStatus.CANCELLED
    await stand.bar(80, 80, 80, 80)
    assert await stand.broker.fills_of(X, BTC) == []


async def test_cancelling_what_is_filled_tells_that_it_is(stand: Stand) -> None:
    await stand.broker.submit(new(X, "buy", "market"))
    await stand.bar(*FLAT)
    told = await stand.broker.cancel(X, BTC)
    assert (told.status, told.filled_quantity) == (OrderStatus.FILLED, Decimal(1))


async def test_an_unknown_order_is_none_has_no_fills_and_cannot_be_cancelled(stand: Stand) -> None:
    assert await stand.broker.order(X, BTC) is None
    assert await stand.broker.fills_of(X, BTC) == []
    with pytest.raises(NotFound):
        await stand.broker.cancel(X, BTC)


async def test_fills_tell_everything_and_the_state_agrees(stand: Stand) -> None:
    await stand.broker.submit(new(X, "buy", "market", "2"))
    await stand.bar(100.5, 101, 100, 101)
    (fill,) = await stand.broker.fills_of(X, BTC)
    assert (fill.symbol, fill.side.value, fill.quantity, fill.price) == (BTC, "buy", Decimal(2), Decimal("100.5"))
    assert fill.fee == Decimal("0.201")
    state = await stand.broker.open_state()
    assert (dict(state.positions), list(state.orders)) == ({BTC: Decimal(2)}, [])
    assert state.cash == Decimal(100_000) + fill.cash
    assert state.at.tzinfo is not None


async def test_an_order_is_filled_in_parts_that_add_up(stand: Stand) -> None:
    await stand.broker.submit(new(X, "buy", "market", "2.5"))
    await stand.bar(*FLAT, volume=10)
    found = await stand.broker.order(X, BTC)
    assert found is not None
    assert (found.status, found.filled_quantity) == (OrderStatus.PARTIALLY_FILLED, Decimal(1))
    assert [order.client_order_id for order in (await stand.broker.open_state()).orders] == [X]
    await stand.bar(*FLAT, volume=10)
    await stand.bar(*FLAT, volume=10)
    fills = await stand.broker.fills_of(X, BTC)
    assert [fill.quantity for fill in fills] == [Decimal(1), Decimal(1), Decimal("0.5")]
    assert len({fill.venue_fill_id for fill in fills}) == 3
    found = await stand.broker.order(X, BTC)
    assert found is not None
    assert found.status is OrderStatus.FILLED


async def test_the_open_state_has_what_rests_children_included(stand: Stand) -> None:
    await stand.broker.submit(new("p", "buy", "limit", limit_price="90"))
    await stand.broker.submit(new("s", "sell", "stop", stop_price="80", group="g", parent="p"))
    await stand.broker.submit(new("t", "sell", "limit", limit_price="110", group="g", parent="p"))
    state = await stand.broker.open_state()
    assert [order.client_order_id for order in state.orders] == ["p", "s", "t"]
    await stand.bar(100, 100, 90, 95)
    await stand.bar(95, 111, 95, 111)
    state = await stand.broker.open_state()
    assert (list(state.orders), dict(state.positions)) == ([], {})
    cancelled = await stand.broker.order(ClientOrderId("s"), BTC)
    assert cancelled is not None
    assert cancelled.status is OrderStatus.CANCELLED


async def test_a_bar_that_comes_again_fills_nothing_more(stand: Stand) -> None:
    await stand.broker.submit(new(X, "buy", "limit", limit_price="95"))
    await stand.bar(*FLAT)
    stand._next -= timedelta(minutes=1)  # type: ignore[attr-defined]
    await stand.bar(90, 90, 90, 90)
    assert await stand.broker.fills_of(X, BTC) == []


async def test_events_tell_of_orders_and_fills(stand: Stand, listener: Listener) -> None:
    taken = await stand.broker.submit(new(X, "buy", "market"))
    await listener.until(1)
    await stand.bar(*FLAT)
    events = await listener.until(3)
    assert events[0] == taken
    assert [event for event in events if isinstance(event, Fill)] == await stand.broker.fills_of(X, BTC)
    assert events[-1] == await stand.broker.order(X, BTC)


async def test_events_may_come_twice(stand: Stand, listener: Listener) -> None:
    await stand.broker.submit(new(X, "buy", "market"))
    await listener.until(1)
    stand.spoil_events("duplicate_events")
    await stand.bar(*FLAT)
    events = await listener.until(5)
    assert [type(event) for event in events[1:]] == [Fill, Fill, VenueOrder, VenueOrder]
    assert len(set(map(repr, events[1:]))) == 2


async def test_events_may_come_in_any_order(stand: Stand, listener: Listener) -> None:
    orders = [new(f"o{n}", "buy", "market") for n in range(6)]
    for order in orders:
        await stand.broker.submit(order)
    await listener.until(6)
    stand.spoil_events("reorder_events")
    await stand.bar(*FLAT)
    told = [event.client_order_id for event in (await listener.until(18))[6:] if isinstance(event, Fill)]
    assert sorted(told) == [order.client_order_id for order in orders] != told


async def test_what_events_do_not_tell_is_found_by_looking(stand: Stand, listener: Listener) -> None:
    await stand.broker.submit(new(X, "buy", "market"))
    await listener.until(1)
    stand.spoil_events("drop_events")
    await stand.bar(*FLAT)
    assert len(await stand.broker.fills_of(X, BTC)) == 1
    assert len(listener.events) == 1


@pytest.mark.parametrize("fault", ["timeout_after", "timeout_before", "server_error"])
async def test_an_order_without_an_answer_is_unknown_and_can_be_looked_up(stand: Stand, fault: str) -> None:
    stand.fail_next(fault)
    with pytest.raises(OrderStatusUnknown):
        await stand.broker.submit(new(X, "buy", "market"))
    found = await stand.broker.order(X, BTC)
    assert (found is not None) is (fault == "timeout_after")


@pytest.mark.parametrize("fault", ["timeout_after", "timeout_before", "server_error"])
async def test_a_cancellation_without_an_answer_is_unknown(stand: Stand, fault: str) -> None:
    await stand.broker.submit(new(X, "buy", "limit", limit_price="90"))
    stand.fail_next(fault)
    with pytest.raises(OrderStatusUnknown):
        await stand.broker.cancel(X, BTC)
    found = await stand.broker.order(X, BTC)
    assert found is not None
    assert found.status is (OrderStatus.CANCELLED if fault == "timeout_after" else OrderStatus.ACCEPTED)


async def test_a_cancellation_that_is_refused_tells_that_the_order_still_rests(stand: Stand) -> None:
    await stand.broker.submit(new(X, "buy", "limit", limit_price="90"))
    stand.fail_next("reject")
    assert (await stand.broker.cancel(X, BTC)).status is OrderStatus.ACCEPTED
    assert (await stand.broker.cancel(X, BTC)).status is OrderStatus.CANCELLED


async def test_an_unreachable_venue_is_unavailable_and_was_sent_nothing(stand: Stand) -> None:
    await stand.vanish()
    broker = stand.broker
    for call in (
        broker.submit(new(X, "buy", "market")),
        broker.cancel(X, BTC),
        broker.order(X, BTC),
        broker.fills_of(X, BTC),
        broker.open_state(),
        broker.instrument(BTC),
    ):
        with pytest.raises(VenueUnavailable):
            await call
    await stand.return_()
    assert await broker.order(X, BTC) is None
    assert (await broker.submit(new(X, "buy", "market"))).status is OrderStatus.ACCEPTED


async def test_events_end_with_the_connection_and_begin_anew(stand: Stand, listener: Listener) -> None:
    await stand.vanish()
    with pytest.raises(VenueUnavailable):
        await asyncio.wait_for(listener.task, ENOUGH.total_seconds())
    await stand.return_()
    again = Listener(stand)
    await stand.until_followed()
    taken = await stand.broker.submit(new(X, "buy", "market"))
    assert await again.until(1) == [taken]
    await stand.broker.close()
    await again.task


async def test_a_venue_may_deny_for_a_while_what_it_has_taken(stand: Stand) -> None:
    stand.deny_next()
    assert stand.broker.visibility_delay > timedelta(0)
    await stand.broker.submit(new(X, "buy", "market"))
    assert await stand.broker.order(X, BTC) is None
    assert await stand.broker.fills_of(X, BTC) == []
    with pytest.raises(NotFound):
        await stand.broker.cancel(X, BTC)
    stand.admit()
    assert await stand.broker.order(X, BTC) is not None


async def test_the_rules_of_a_symbol_are_those_that_orders_are_checked_by(stand: Stand) -> None:
    found = await stand.broker.instrument(BTC)
    assert (found.symbol, found.quantity_step, found.minimum_quantity) == (BTC, Decimal("0.001"), Decimal(0))


async def test_closing_ends_events_and_leaves_orders(stand: Stand, listener: Listener) -> None:
    await stand.broker.submit(new(X, "buy", "limit", limit_price="90"))
    await listener.until(1)
    await stand.broker.close()
    await asyncio.wait_for(listener.task, ENOUGH.total_seconds())
    with pytest.raises((VenueUnavailable, OrderStatusUnknown)):
        await stand.broker.submit(new("y", "buy", "market"))
    await stand.bar(100, 100, 90, 95)
    await stand.broker.close()
