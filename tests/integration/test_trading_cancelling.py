"""What becomes of a cancellation, whatever its venue answers: the order has one end, in the books and there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.venue_desk import VenueDesk, venue_desk

from atf.storage.database import Database
from atf.testing.venue import CANCEL, SUBMIT
from atf.testing.venue_faults import VenueFault
from atf.trading import order_tracker, strategy_instance
from atf.trading.order import OrderStatus
from atf.trading.paper.account import FillModel

CANCELLING = '''
import backtrader as bt

class Cancelling(bt.Strategy):
    """Wants to sell above the market at its first bar, and later, or at once, that this is cancelled."""

    params = (("limit", 500.0), ("size", 3), ("cancel_at", (2,)))

    def __init__(self):
        self.count, self.told = 0, []

    def next(self):
        self.count += 1
        if self.count == 1:
            self.sell(size=self.p.size, price=self.p.limit, exectype=bt.Order.Limit)
        if self.count in self.p.cancel_at:
            for order in self.broker.get_orders_open():
                self.cancel(order)

    def notify_order(self, order):
        self.told.append(order.getstatusname())

    def save_state(self):
        return {"count": self.count, "told": self.told}

    def load_state(self, state):
        self.count, self.told = state["count"], state["told"]
'''
SHORTLY = timedelta(seconds=0.02)
THIRD_BAR = 113.5
"""A limit that the third bar is the first to reach."""
TWO_A_BAR = FillModel(partial_fill_fraction=Decimal("0.002"))
"""So many shares of a bar's volume are filled."""


@pytest.fixture
async def desk(
    tmp_path: Path, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[VenueDesk]:
    monkeypatch.setattr(order_tracker, "_FIRST_LOOK", SHORTLY)
    monkeypatch.setattr(order_tracker, "_GRACE", SHORTLY)
    monkeypatch.setattr(strategy_instance, "_VENUE_PAUSES", (0.05,))
    async with venue_desk(tmp_path, database_url, database, monkeypatch, TWO_A_BAR) as made:
        (tmp_path / "strategies" / "cancelling.py").write_text(CANCELLING, "utf-8")
        yield made


async def add(desk: VenueDesk, **params: Any) -> None:
    await desk.add_bot(strategy={"name": "cancelling.py:Cancelling", "params": params})


async def order(desk: VenueDesk) -> Any:
    (found,) = await desk.rows.all("SELECT * FROM trading_orders")
    return found


async def told(desk: VenueDesk) -> list[str]:
    """What the strategy has been told of its order, as soon as it has stored that with a bar."""
    await desk.bar()
    found: list[str] = await desk.rows.value("SELECT strategy_state->'told' FROM trading_bot_states")
    return found


def at_venue(desk: VenueDesk) -> OrderStatus:
    (found,) = desk.account().orders.values()
    return found.status


@pytest.mark.parametrize(
    "fault",
    [
        VenueFault.ACCEPTED_THEN_SILENT,
        VenueFault.ACCEPTED_THEN_CUT,
        VenueFault.ACCEPTED_THEN_BROKEN,
        VenueFault.HTML,
        VenueFault.SILENT,
        VenueFault.CUT,
        VenueFault.BROKEN,
        VenueFault.THROTTLED,
        VenueFault.UNKNOWN,
    ],
    ids=lambda fault: fault.name,
)
async def test_a_cancellation_that_is_not_answered_is_asked_for_again_until_the_order_has_ended(
    desk: VenueDesk, fault: VenueFault
) -> None:
    await add(desk)
    desk.venue.misbehave(VenueFault.DROPPED)  # nobody else tells
    desk.venue.misbehave(fault, CANCEL, times=2)
    async with desk.running():
        await desk.bar(2)
        await desk.until_order("cancelled")
        assert at_venue(desk) is OrderStatus.CANCELLED
        assert await told(desk) == ["Submitted", "Accepted", "Canceled"]
        await desk.books_agree()


async def test_a_cancellation_that_cannot_be_sent_goes_out_when_the_venue_is_back(desk: VenueDesk) -> None:
    await add(desk)
    async with desk.running():
        await desk.bar()
        await desk.venue.go_away()
        await desk.bar()
        await desk.until("SELECT is_cancel_requested FROM trading_orders")
        assert at_venue(desk) is OrderStatus.ACCEPTED
        await desk.venue.come_back()
        await desk.until_order("cancelled")
        await desk.books_agree()


async def test_a_refused_cancellation_leaves_the_order_until_it_is_asked_for_again(
    desk: VenueDesk,
) -> None:
    await add(desk, cancel_at=[2, 4])
    desk.venue.misbehave(VenueFault.REFUSED, CANCEL, times=2)
    async with desk.running():
        await desk.bar(3)
        assert desk.venue.requests[CANCEL] == 1, "an answer is an answer"
        await desk.bar(2)
        assert desk.venue.requests[CANCEL] == 2, "the strategy has asked again"
        assert ((await order(desk)).status, at_venue(desk)) == ("accepted", OrderStatus.ACCEPTED)
    async with desk.running():
        await desk.until_order("cancelled")
        await desk.books_agree()


async def test_an_order_that_the_venue_does_not_know_any_more_is_lost_when_it_is_cancelled(
    desk: VenueDesk,
) -> None:
    await add(desk)
    async with desk.running():
        await desk.bar()
        await desk.until_order("accepted")
        desk.venue.forget_order("bot-1", (await order(desk)).client_order_id)
        await desk.bar()
        await desk.until_order("lost")
        assert await told(desk) == ["Submitted", "Accepted", "Rejected"]
        errors = await desk.rows.column("SELECT text FROM trading_bot_events WHERE level = 'error'")
        assert [(await order(desk)).client_order_id in text for text in errors] == [True]
        await desk.books_agree()


@pytest.mark.parametrize("fault", [VenueFault.DROPPED, VenueFault.REVERSED, VenueFault.DUPLICATED])
async def test_an_order_that_is_filled_before_its_cancellation_comes_is_filled(
    desk: VenueDesk, fault: VenueFault
) -> None:
    await add(desk, limit=THIRD_BAR, size=2, cancel_at=[3])
    async with desk.running():
        await desk.bar(2)
        await desk.until_order("accepted")
        desk.venue.misbehave(fault)
        await desk.bar()
        await desk.until_order("filled")
        assert await told(desk) == ["Submitted", "Accepted", "Completed"]
        await desk.books_agree()
        assert await desk.held() == -2


@pytest.mark.parametrize("fault", [VenueFault.DROPPED, VenueFault.REVERSED, VenueFault.DUPLICATED])
async def test_what_was_filled_of_an_order_before_it_was_cancelled_is_booked(
    desk: VenueDesk, fault: VenueFault
) -> None:
    await add(desk, limit=THIRD_BAR, size=3, cancel_at=[3])
    async with desk.running():
        await desk.bar(2)
        await desk.until_order("accepted")
        desk.venue.misbehave(fault)
        await desk.bar()
        await desk.until_order("cancelled")
        await desk.books_agree()
        assert await desk.held() == -2
        found = await order(desk)
        assert (found.status, found.filled_quantity) == ("cancelled", 2), "a late fill changes no end"


async def test_an_order_on_its_way_is_not_cancelled_before_its_answer_or_its_time_out(desk: VenueDesk) -> None:
    await add(desk, cancel_at=[1])
    desk.venue.misbehave(VenueFault.DROPPED)
    desk.venue.misbehave(VenueFault.ACCEPTED_THEN_SILENT, SUBMIT)
    async with desk.running():
        await desk.bar()
        await desk.until_order("cancelled")
        warnings = await desk.rows.column("SELECT text FROM trading_bot_events WHERE level = 'warning'")
        assert [" is unknown: " in text for text in warnings] == [True], "its answer was waited for"
        assert at_venue(desk) is OrderStatus.CANCELLED
        await desk.books_agree()


async def test_a_cancellation_that_was_stored_and_not_sent_goes_out_at_the_next_start(desk: VenueDesk) -> None:
    broker = {"type": "local-venue", "url": desk.venue.url, "timeout_seconds": 60}
    await desk.add_bot(strategy={"name": "cancelling.py:Cancelling"}, broker=broker)
    desk.venue.misbehave(VenueFault.SILENT, CANCEL)
    async with desk.running():
        await desk.bar(2)
        await desk.venue.until_requested(CANCEL)
    desk.venue.behave()
    assert ((await order(desk)).status, at_venue(desk)) == ("accepted", OrderStatus.ACCEPTED)
    async with desk.running():
        await desk.until_order("cancelled")
        assert at_venue(desk) is OrderStatus.CANCELLED
        await desk.books_agree()
