"""Brokers of each kind with a venue behind them that does, or fails to do, what a test asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final, Protocol

from tests.paper_bars import BEGIN, MINUTES, candle

from atf.adapters.brokers.paper import PaperBroker, PaperVenue
from atf.storage.database import Database
from atf.storage.paper_repository import PostgresPaperStore
from atf.testing.clocks import FakeClock
from atf.testing.venue import CANCEL, FILLS, ORDER, SUBMIT, LocalVenue, local_venue
from atf.testing.venue_broker import LocalVenueBroker
from atf.testing.venue_faults import VenueFault
from atf.trading.broker import Broker
from atf.trading.paper.options import EventFault, PaperFault, PaperFaults, parse_paper_options

RULES: Final[dict[str, Any]] = {"fee_fraction": 0.001, "partial_fill_fraction": 0.1, "quantity_step": 0.001}


class Stand(Protocol):
    """A broker of a new account with 100,000, and its venue.

    Faults of calls are ``timeout_after``, ``timeout_before``, ``server_error`` and ``reject``, of events those of
    ``EventFault``.
    """

    name: ClassVar[str]
    broker: Broker

    @classmethod
    def open(cls, database: Database) -> AbstractAsyncContextManager[Stand]:
        """Open it."""
        ...

    async def bar(self, *prices: float, volume: float = 1000.0) -> None:
        """Match the next minute."""
        ...

    def fail_next(self, fault: str) -> None:
        """Let the next order or cancellation fail."""
        ...

    def spoil_events(self, fault: str) -> None:
        """Push all events wrongly from now on."""
        ...

    def deny_next(self) -> None:
        """Let the venue deny orders that it has just taken."""
        ...

    def admit(self) -> None:
        """Let it know them again."""
        ...

    async def vanish(self) -> None:
        """Let the venue be unreachable."""
        ...

    async def return_(self) -> None:
        """Let it be reachable again."""
        ...

    async def until_followed(self) -> None:
        """Wait until somebody who asked for events gets those that come now."""
        ...


class PaperStand:
    """The paper venue on a real PostgreSQL."""

    name: ClassVar = "paper"

    def __init__(self, venue: PaperVenue, clock: FakeClock, broker: PaperBroker) -> None:
        self._venue, self._clock = venue, clock
        self._next = BEGIN
        self._paper = broker
        self.broker: Broker = broker

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database) -> AsyncIterator[Stand]:
        clock = FakeClock(BEGIN)
        venue = PaperVenue(PostgresPaperStore(database), clock)
        broker = await venue.open("stand", parse_paper_options({"type": "paper", **RULES}))
        yield cls(venue, clock, broker)

    async def bar(self, *prices: float, volume: float = 1000.0) -> None:
        await self._venue.on_bars({MINUTES: (self._next, candle(prices, volume))})
        self._next += timedelta(minutes=1)
        self._clock.advance(timedelta(minutes=1))

    def fail_next(self, fault: str) -> None:
        self._paper._dice._script.append(PaperFault(fault))

    def spoil_events(self, fault: str) -> None:
        self._paper._dice._faults = PaperFaults(event_chances={EventFault(fault): 1.0})

    def deny_next(self) -> None:
        self._paper._faults = PaperFaults(visibility=timedelta(seconds=30))

    def admit(self) -> None:
        self._clock.advance(timedelta(seconds=30))

    async def vanish(self) -> None:
        self._paper.disconnect(timedelta(seconds=5))

    async def return_(self) -> None:
        self._clock.advance(timedelta(seconds=5))

    async def until_followed(self) -> None:
        await asyncio.sleep(0)


class LocalVenueStand:
    """The local venue behind its client, over HTTP."""

    name: ClassVar = "local venue"

    def __init__(self, venue: LocalVenue) -> None:
        self.venue = venue
        self._next = BEGIN
        self.broker: Broker = LocalVenueBroker(
            venue.url, "stand", timeout_seconds=0.3, visibility_delay=timedelta(seconds=2)
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database) -> AsyncIterator[Stand]:
        rules = parse_paper_options({"type": "paper", **RULES}).rules
        async with local_venue(BEGIN, rules, Decimal(100_000)) as venue:
            yield cls(venue)

    async def bar(self, *prices: float, volume: float = 1000.0) -> None:
        await self.venue.push_bar(MINUTES, self._next, candle(prices, volume))
        self._next += timedelta(minutes=1)

    def fail_next(self, fault: str) -> None:
        wrong = {
            "timeout_after": VenueFault.ACCEPTED_THEN_SILENT,
            "timeout_before": VenueFault.SILENT,
            "server_error": VenueFault.BROKEN,
            "reject": VenueFault.REFUSED,
        }[fault]
        for path in (SUBMIT, CANCEL):
            self.venue.misbehave(wrong, path, times=1)

    def spoil_events(self, fault: str) -> None:
        wrong = {
            "duplicate_events": VenueFault.DUPLICATED,
            "reorder_events": VenueFault.REVERSED,
            "drop_events": VenueFault.DROPPED,
        }[fault]
        self.venue.misbehave(wrong)

    def deny_next(self) -> None:
        for path in (ORDER, FILLS, CANCEL):
            self.venue.misbehave(VenueFault.UNKNOWN, path)

    def admit(self) -> None:
        self.venue.behave()

    async def vanish(self) -> None:
        await self.venue.go_away()

    async def return_(self) -> None:
        await self.venue.come_back()

    async def until_followed(self) -> None:
        await self.venue.until_followed("stand")


STANDS: Final[tuple[type[Stand], ...]] = (PaperStand, LocalVenueStand)
