"""Every fault of the local venue has one word in the order path, and only what was taken has an effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.paper_bars import BEGIN, BTC, MINUTES, candle, new

from atf.errors import NotFound
from atf.testing.venue import CANCEL, EVENTS, FILLS, INSTRUMENT, ORDER, STATE, SUBMIT, LocalVenue, local_venue
from atf.testing.venue_broker import LocalVenueBroker
from atf.testing.venue_faults import BEFORE_ACCEPTANCE, OF_EVENTS, VenueFault
from atf.trading.broker import OrderRejected, OrderStatusUnknown, VenueUnavailable
from atf.trading.order import ClientOrderId, OrderStatus

X = ClientOrderId("x")
OF_ANSWERS = [fault for fault in VenueFault if fault not in OF_EVENTS]
OTHERWISE: dict[VenueFault, type[Exception]] = {
    VenueFault.THROTTLED: VenueUnavailable,
    VenueFault.REFUSED: OrderRejected,
    VenueFault.UNKNOWN: OrderRejected,
}


@pytest.fixture
async def venue() -> AsyncIterator[LocalVenue]:
    async with local_venue(BEGIN) as made:
        yield made


@pytest.fixture
async def broker(venue: LocalVenue) -> AsyncIterator[LocalVenueBroker]:
    made = LocalVenueBroker(venue.url, "bot-1", timeout_seconds=0.2)
    yield made
    await made.close()


@pytest.mark.parametrize("fault", OF_ANSWERS, ids=lambda fault: fault.name)
async def test_an_order_that_is_not_answered_rightly_is_unknown_unless_it_was_refused(
    venue: LocalVenue, broker: LocalVenueBroker, fault: VenueFault
) -> None:
    venue.misbehave(fault, SUBMIT, times=1)
    with pytest.raises(OTHERWISE.get(fault, OrderStatusUnknown)):
        await broker.submit(new("x", "buy", "market"))
    assert (await broker.order(X, BTC) is not None) is (fault not in BEFORE_ACCEPTANCE)
    assert venue.submissions == {"x": 1}
    assert (await broker.submit(new("x", "buy", "market"))).status is OrderStatus.ACCEPTED
    assert venue.submissions == {"x": 2}
    assert len(venue.account("bot-1").orders) == 1


@pytest.mark.parametrize("fault", OF_ANSWERS, ids=lambda fault: fault.name)
async def test_a_cancellation_that_is_not_answered_rightly_is_unknown(
    venue: LocalVenue, broker: LocalVenueBroker, fault: VenueFault
) -> None:
    await broker.submit(new("x", "buy", "limit", limit_price="90"))
    venue.misbehave(fault, CANCEL, times=1)
    wanted = {VenueFault.THROTTLED: VenueUnavailable, VenueFault.UNKNOWN: NotFound}
    if fault is VenueFault.REFUSED:
        assert (await broker.cancel(X, BTC)).status is OrderStatus.ACCEPTED
        return
    with pytest.raises(wanted.get(fault, OrderStatusUnknown)):
        await broker.cancel(X, BTC)
    held = venue.account("bot-1").orders[X]
    assert (held.status is OrderStatus.CANCELLED) is (fault not in BEFORE_ACCEPTANCE)


@pytest.mark.parametrize("fault", OF_ANSWERS, ids=lambda fault: fault.name)
async def test_a_question_that_is_not_answered_rightly_is_no_answer(
    venue: LocalVenue, broker: LocalVenueBroker, fault: VenueFault
) -> None:
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        ORDER: lambda: broker.order(X, BTC),
        FILLS: lambda: broker.fills_of(X, BTC),
        STATE: broker.open_state,
        INSTRUMENT: lambda: broker.instrument(BTC),
        EVENTS: lambda: anext(broker.events()),
    }
    await broker.submit(new("x", "buy", "market"))
    for path, ask in questions.items():
        if fault is VenueFault.UNKNOWN and path in {ORDER, FILLS, INSTRUMENT}:
            continue
        if fault in {VenueFault.SILENT, VenueFault.STALLED, VenueFault.SLOW} and path == EVENTS:
            continue  # is waited for
        if fault is VenueFault.ACCEPTED_THEN_SILENT and path == EVENTS:
            continue
        venue.misbehave(fault, path, times=1)
        with pytest.raises(VenueUnavailable):
            await ask()
    venue.behave()
    assert await broker.order(X, BTC) is not None


async def test_a_refusal_for_too_many_requests_says_when_to_come_again(
    venue: LocalVenue, broker: LocalVenueBroker
) -> None:
    venue.misbehave(VenueFault.THROTTLED)
    with pytest.raises(VenueUnavailable) as refusal:
        await broker.submit(new("x", "buy", "market"))
    assert refusal.value.retry_after_seconds == 7


async def test_what_is_not_traded_is_not_found(venue: LocalVenue, broker: LocalVenueBroker) -> None:
    venue.symbols = {"ETH/USDT"}
    with pytest.raises(NotFound, match="BTC/USDT"):
        await broker.instrument(BTC)
    assert (await broker.instrument("ETH/USDT")).symbol == "ETH/USDT"


async def test_a_person_changes_a_position_and_a_venue_forgets_an_order(
    venue: LocalVenue, broker: LocalVenueBroker
) -> None:
    await broker.submit(new("x", "buy", "market"))
    venue.change_position_by_hand("bot-1", BTC, Decimal("-0.5"))
    venue.forget_order("bot-1", "x")
    await venue.push_bar(MINUTES, BEGIN, candle((100, 100, 100, 100)))
    state = await broker.open_state()
    assert (dict(state.positions), list(state.orders)) == ({BTC: Decimal("-0.5")}, [])
    assert await broker.order(X, BTC) is None


async def test_an_order_that_is_forgotten_after_it_was_filled_has_no_fills_and_no_successor_of_its_number(
    venue: LocalVenue, broker: LocalVenueBroker
) -> None:
    first = await broker.submit(new("x", "buy", "market"))
    await venue.push_bar(MINUTES, BEGIN, candle((100, 100, 100, 100)))
    venue.forget_order("bot-1", "x")
    assert await broker.fills_of(X, BTC) == []
    assert dict((await broker.open_state()).positions) == {BTC: Decimal(1)}
    assert (await broker.submit(new("y", "buy", "market"))).venue_order_id != first.venue_order_id


async def test_accounts_do_not_see_each_other(venue: LocalVenue, broker: LocalVenueBroker) -> None:
    other = LocalVenueBroker(venue.url, "user-3/shared one")
    await other.submit(new("x", "buy", "market"))
    assert await broker.order(X, BTC) is None
    await venue.push_tick(BTC, Decimal(100))
    assert (await other.open_state()).cash == Decimal(99_900)
    assert (await broker.open_state()).cash == Decimal(100_000)
    assert set(venue._books._accounts) == {"bot-1", "user-3/shared one"}
    await other.close()


async def test_a_venue_that_went_away_comes_back_at_the_same_place_with_its_books(
    venue: LocalVenue, broker: LocalVenueBroker
) -> None:
    await broker.submit(new("x", "buy", "market"))
    url = venue.url
    await venue.go_away()
    with pytest.raises(VenueUnavailable, match="no connection"):
        await LocalVenueBroker(url, "bot-1").submit(new("y", "buy", "market"))
    await venue.push_bar(MINUTES, BEGIN, candle((100, 100, 100, 100)))
    await venue.come_back()
    assert venue.url == url
    (fill,) = await broker.fills_of(X, BTC)
    assert fill.price == 100


async def test_events_that_come_while_nobody_asks_are_given_with_the_next_answer(
    venue: LocalVenue, broker: LocalVenueBroker
) -> None:
    events = broker.events()
    first = asyncio.ensure_future(anext(events))
    await venue.until_followed("bot-1")
    taken = await broker.submit(new("x", "buy", "market"))
    assert await first == taken
    await venue.push_bar(MINUTES, BEGIN, candle((100, 100, 100, 100)))
    assert [(await anext(events)).client_order_id for _ in range(2)] == ["x", "x"]
    assert venue.now == BEGIN + timedelta(minutes=1)
