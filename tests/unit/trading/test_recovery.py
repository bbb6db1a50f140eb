"""Books and venue compared while orders are being filled: only what differs when nothing moves is a mismatch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.unit.trading.trading_fakes import (
    BAR,
    BOT,
    INSTRUMENT,
    FixedClock,
    MemoryBooks,
    ScriptedBroker,
    Strategy,
    a_fill,
    answer,
    request,
)

from atf.trading import recovery
from atf.trading.book import BotBook
from atf.trading.bot import StartupPositionPolicy
from atf.trading.broker import OpenState
from atf.trading.order import OrderStatus, client_order_id
from atf.trading.order_cycle import OrderCycle, OrderDesk
from atf.trading.recovery import PositionMismatch, Recovery
from atf.trading.risk import RiskLimits


@dataclass
class FillingBroker(ScriptedBroker):
    """A venue that fills one more order just before it says what the account holds, and pushes nothing."""

    to_fill: int = 0

    async def open_state(self) -> OpenState:
        number = int(self.held.get("AAPL", Decimal(0)))
        if number < self.to_fill:
            name = client_order_id("x", BOT, BAR, number)
            self.filled[name] = [a_fill(name, f"f{number}", "1")]
            self.know(name, OrderStatus.FILLED, "1")
            self.held = {"AAPL": Decimal(number + 1)}
        return await super().open_state()


@dataclass
class Desk:
    cycle: OrderCycle
    broker: FillingBroker

    def recovery(self, policy: StartupPositionPolicy = StartupPositionPolicy.RESUME) -> Recovery:
        return Recovery(self.cycle, self.broker, FixedClock(), ["AAPL"], policy)

    @property
    def held(self) -> Decimal:
        return self.cycle.book.holding("AAPL").position.quantity


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """Three orders rest."""
    monkeypatch.setattr(recovery, "_SECOND_LOOK", timedelta(0))
    books = MemoryBooks()
    broker, failures = FillingBroker(books), list[BaseException]()
    wired = OrderDesk(books, broker, FixedClock(), {"AAPL": INSTRUMENT}, RiskLimits(), "x")
    book = BotBook(BOT, Decimal(10_000), marks={"AAPL": Decimal(100)})
    cycle = OrderCycle(book, wired, Strategy().tell, failures.append)
    await cycle.take(answer(request(1), request(2), request(3)), BAR, is_bar=True)
    await cycle.tracker.look_up()
    yield Desk(cycle, broker)
    await cycle.close()
    assert failures == []


@pytest.mark.parametrize("filled", [1, 2, 3])
async def test_what_is_filled_just_before_each_answer_is_booked_and_stops_nobody(desk: Desk, filled: int) -> None:
    desk.broker.to_fill = filled
    await desk.recovery().check()
    assert desk.held == filled


async def test_a_start_adopts_nothing_that_is_filled_meanwhile(desk: Desk) -> None:
    desk.broker.to_fill = 3
    await desk.recovery(StartupPositionPolicy.ADOPT).recover()
    assert desk.held == 3
    assert not desk.cycle.book.holding("AAPL").position.is_adopted
    assert desk.cycle.book.cash == 10_000 - 3 * 100


async def test_what_differs_when_nothing_moves_is_a_mismatch(desk: Desk) -> None:
    desk.broker.held = {"AAPL": Decimal(7)}
    with pytest.raises(PositionMismatch, match="0 in the books, 7 at the venue"):
        await desk.recovery().check()
