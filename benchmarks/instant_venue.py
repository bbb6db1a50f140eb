"""A venue that takes and fills every order at once and notes when it came: what is measured is ATF alone."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from atf.adapters.brokers.event_stream import EventStream
from atf.trading.bot import Bot
from atf.trading.bot_config import BotConfig
from atf.trading.broker import Broker, Instrument, OpenState, VenueEvent, VenueOrder
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder, OrderStatus

_PRICE: Final = Decimal(100)


class InstantVenue:
    """All accounts; ``arrivals`` by account: when each order came, in their order, by the monotonic clock."""

    def __init__(self) -> None:
        self.arrivals: dict[int, list[float]] = defaultdict(list)
        self.held: dict[int, Decimal] = defaultdict(Decimal)
        self.fills: dict[ClientOrderId, Fill] = {}

    async def open(self, bot: Bot, config: BotConfig) -> Broker:
        """Return the account of a bot."""
        return InstantBroker(self, bot.id)


class InstantBroker:
    """One account."""

    visibility_delay = timedelta(0)

    def __init__(self, venue: InstantVenue, account: int) -> None:
        self._venue = venue
        self._account = account
        self._streams: list[EventStream] = []

    async def instrument(self, symbol: str) -> Instrument:
        """Return no rules."""
        return Instrument(symbol)

    async def submit(self, order: NewOrder) -> VenueOrder:
        """Note when it came, and fill it."""
        self._venue.arrivals[self._account].append(time.perf_counter())
        terms, name = order.terms, order.client_order_id
        fill = Fill(
            f"f-{name}", name, terms.symbol, terms.side, terms.quantity, _PRICE, Decimal(0), datetime.now(UTC)
        )
        self._venue.fills[name] = fill
        self._venue.held[self._account] += terms.side.sign * terms.quantity
        asyncio.get_running_loop().call_soon(self._push, fill)
        return VenueOrder(name, f"v-{name}", terms.symbol, OrderStatus.ACCEPTED)

    async def cancel(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder:
        """Nothing is left to cancel."""
        return VenueOrder(client_order_id, "", symbol, OrderStatus.FILLED)

    async def order(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder | None:
        """Return a filled order."""
        fill = self._venue.fills.get(client_order_id)
        if fill is None:
            return None
        return VenueOrder(client_order_id, f"v-{client_order_id}", symbol, OrderStatus.FILLED, fill.quantity)

    async def fills_of(self, client_order_id: ClientOrderId, symbol: str) -> Sequence[Fill]:
        """Return the one fill of an order."""
        return [self._venue.fills[client_order_id]]

    async def open_state(self) -> OpenState:
        """Return what the account holds."""
        held = self._venue.held[self._account]
        return OpenState({"BTC": held} if held else {}, [], Decimal(0), datetime.now(UTC))

    def events(self) -> AsyncIterator[VenueEvent]:
        """Yield the fills from now on."""
        self._streams.append(EventStream())
        return self._streams[-1]

    async def told(self) -> None:
        """Return when all fills are taken in."""
        for stream in self._streams:
            await stream.taken()

    async def close(self) -> None:
        """End the events."""
        for stream in self._streams:
            stream.end()

    def _push(self, fill: Fill) -> None:
        for stream in self._streams:
            stream.put([fill])
