"""A local venue: an exchange of its own, which outlives the service that is killed, and misbehaves when told to.

It listens on 127.0.0.1 in the test's own event loop; its client is ``venue_broker.py``. Orders are matched by the
rules of the paper venue with the bars that the test pushes. Needs the extra ``crypto``, which brings aiohttp.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from aiohttp import web

from atf.market.bars import Series
from atf.testing.venue_books import HeldAccount, VenueBooks
from atf.testing.venue_faults import (
    BEFORE_ACCEPTANCE,
    OF_EVENTS,
    VenueFault,
    VenueMisbehaviour,
    answer_wrongly,
    events_as_told,
    hang_up,
)
from atf.testing.venue_wire import (
    event_document,
    fill_document,
    instrument_document,
    read_order,
    state_document,
    venue_order_document,
)
from atf.trading.bot_messages import Candle
from atf.trading.broker import OrderRejected, VenueEvent
from atf.trading.order import ClientOrderId
from atf.trading.paper.account import AccountRules
from atf.trading.paper.bar import PaperBar, bar_of, tick_of

SUBMIT: Final = "POST /accounts/{account}/orders"
CANCEL: Final = "DELETE /accounts/{account}/orders/{name}"
ORDER: Final = "GET /accounts/{account}/orders/{name}"
FILLS: Final = "GET /accounts/{account}/orders/{name}/fills"
STATE: Final = "GET /accounts/{account}"
EVENTS: Final = "GET /accounts/{account}/events"
INSTRUMENT: Final = "GET /instruments/{symbol:.+}"
"""What it can be asked; ``misbehave`` takes one of these as the path."""

_POLL: Final = 20.0
_PATIENCE: Final = 10.0

Answer = tuple[int, Any]


class LocalVenue:
    """One venue with a clock that stands where it is put.

    ``now``: its clock, which bars move on. ``requests`` counts by path; ``submissions`` by client order id,
    however they were answered; ``misdeeds`` by fault, what it has done wrong. ``symbols``: what is traded, None:
    everything.
    """

    def __init__(self, now: datetime, rules: AccountRules, cash: Decimal) -> None:
        self.now = now
        self.requests: Counter[str] = Counter()
        self.submissions: Counter[str] = Counter()
        self.misdeeds: Counter[VenueFault] = Counter()
        self.symbols: set[str] | None = None
        self._books = VenueBooks(rules, cash)
        self._wrongs: dict[str, VenueMisbehaviour] = {}
        self._polls: Counter[str] = Counter()
        self._polling: list[web.Request] = []
        self._changed = asyncio.Condition()
        self._released = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"http://127.0.0.1:{self._port}"

    def account(self, name: str) -> HeldAccount:
        """Return an account as the venue has it, to compare books with."""
        return self._books.account(name)

    # --- what the market and other people do ---

    async def push_bar(self, series: Series, open_time: datetime, candle: Candle) -> None:
        """Close a bar: fill what it fills, and tell; one that is not newer than the last changes nothing."""
        bar = bar_of(series, open_time, candle)
        if bar is not None and self._books.is_new(series, open_time):
            await self._match(bar)

    async def push_tick(self, symbol: str, price: Decimal) -> None:
        """Trade a symbol at a price, at the clock's time."""
        tick = tick_of(symbol, self.now, price)
        if tick is not None:
            await self._match(tick)

    def change_position_by_hand(self, account: str, symbol: str, quantity: Decimal) -> None:
        """Change a position without an order, and tell nobody."""
        self._books.move(account, symbol, quantity)

    def forget_order(self, account: str, client_order_id: str) -> None:
        """Lose an order as if it had never come."""
        self._books.forget(account, ClientOrderId(client_order_id))

    # --- what goes wrong ---

    def misbehave(
        self,
        fault: VenueFault,
        path: str = SUBMIT,
        times: int | None = None,
        *,
        delay: timedelta = timedelta(seconds=1),
    ) -> None:
        """Answer the next requests of a path wrongly: so many, or all until ``behave``.

        A fault of events counts pushes, not requests.
        """
        self._wrongs[EVENTS if fault in OF_EVENTS else path] = VenueMisbehaviour(fault, times, delay)

    def behave(self) -> None:
        """Answer rightly from now on; who was kept waiting is let go."""
        self._wrongs.clear()
        self._released.set()
        self._released = asyncio.Event()

    async def drop_connections(self) -> None:
        """Break the connections of all who wait for events."""
        for request in list(self._polling):
            hang_up(request)

    async def go_away(self) -> None:
        """Stop listening: connections are refused until ``come_back``."""
        await self.drop_connections()
        if self._site is not None:
            await self._site.stop()
            self._site = None
        if self._runner is not None and self._runner.server is not None:
            for protocol in self._runner.server.connections:  # those that are kept open between requests
                if protocol.transport is not None:
                    protocol.transport.abort()

    async def come_back(self) -> None:
        """Listen again, at the same port."""
        if self._site is None and self._runner is not None:
            self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
            await self._site.start()
            self._port = self._runner.addresses[0][1]

    async def until_followed(self, account: str) -> None:
        """Wait until somebody waits for an account's events. Errors: TimeoutError after seconds."""
        await self._until(lambda: self._polls[account] > 0)

    async def until_requested(self, path: str, times: int = 1) -> None:
        """Wait until a path was requested so many times. Errors: TimeoutError after seconds."""
        await self._until(lambda: self.requests[path] >= times)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE), self._changed:
            await self._changed.wait_for(condition)

    # --- what it answers ---

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        path = f"{request.method} {request.match_info.route.resource.canonical}"  # type: ignore[union-attr]
        path = INSTRUMENT if path.startswith("GET /instruments") else path
        await self._count(path)
        wrong = None if path in self._wrongs and self._wrongs[path].fault in OF_EVENTS else self._wrong(path)
        if path == SUBMIT:
            self.submissions[str((await request.json()).get("client_order_id"))] += 1
        is_done = wrong is None or wrong.fault not in BEFORE_ACCEPTANCE
        status, document = await self._answers[path](self, request) if is_done else (500, {})
        if wrong is None:
            return web.json_response(document, status=status)
        return await answer_wrongly(wrong, request, status=status, document=document, released=self._released)

    async def _submit(self, request: web.Request) -> Answer:
        account = request.match_info["account"]
        try:
            new = read_order(await request.json())
            order, events = self._books.submit(account, new, self.now)
        except OrderRejected as exc:
            return 422, {"error": str(exc)}
        except (KeyError, ValueError, ArithmeticError, TypeError) as exc:
            return 400, {"error": f"this is no order: {exc!r}"}
        await self._tell({account: events})
        return 200, venue_order_document(order)

    async def _cancel(self, request: web.Request) -> Answer:
        account, name = _named(request)
        order, events = self._books.cancel(account, name, self.now)
        await self._tell({account: events})
        return _found(None if order is None else venue_order_document(order))

    async def _order(self, request: web.Request) -> Answer:
        order = self._books.order(*_named(request))
        return _found(None if order is None else venue_order_document(order))

    async def _fills(self, request: web.Request) -> Answer:
        return 200, [fill_document(fill) for fill in self._books.fills_of(*_named(request))]

    async def _state(self, request: web.Request) -> Answer:
        return 200, state_document(self._books.state(request.match_info["account"], self.now))

    async def _instrument(self, request: web.Request) -> Answer:
        symbol = request.match_info["symbol"]
        is_traded = self.symbols is None or symbol in self.symbols
        return _found(instrument_document(self._books.rules.instrument(symbol)) if is_traded else None)

    async def _events(self, request: web.Request) -> Answer:
        """Give what came after a place, as soon as there is something; without a place tell where the end is."""
        account, events = request.match_info["account"], self.account(request.match_info["account"]).events
        if "after" not in request.query:
            return 200, {"last": len(events), "events": []}
        after = int(request.query["after"])
        with self._waiting(account, request), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL), self._changed:
                self._changed.notify_all()
                await self._changed.wait_for(lambda: len(events) > after)
        return 200, {"last": len(events), "events": [event_document(event) for event in events[after:]]}

    _answers: Final = {
        SUBMIT: _submit,
        CANCEL: _cancel,
        ORDER: _order,
        FILLS: _fills,
        STATE: _state,
        INSTRUMENT: _instrument,
        EVENTS: _events,
    }

    # --- inside ---

    async def _match(self, bar: PaperBar) -> None:
        self.now = max(self.now, bar.closes_at)
        await self._tell(self._books.match(bar))

    async def _tell(self, news: Mapping[str, Sequence[VenueEvent]]) -> None:
        for account, events in news.items():
            if events:
                wrong = self._wrong(EVENTS) if self._is_wrong_about_events() else None
                told = events_as_told(None if wrong is None else wrong.fault, events)
                self.account(account).events.extend(told)
        async with self._changed:
            self._changed.notify_all()

    def _is_wrong_about_events(self) -> bool:
        return EVENTS in self._wrongs and self._wrongs[EVENTS].fault in OF_EVENTS

    def _wrong(self, path: str) -> VenueMisbehaviour | None:
        wrong = self._wrongs.get(path)
        if wrong is None:
            return None
        self.misdeeds[wrong.fault] += 1
        if wrong.times is not None:
            wrong.times -= 1
            if not wrong.times:
                del self._wrongs[path]
        return wrong

    async def _count(self, path: str) -> None:
        async with self._changed:
            self.requests[path] += 1
            self._changed.notify_all()

    @contextlib.contextmanager
    def _waiting(self, account: str, request: web.Request) -> Any:
        self._polls[account] += 1
        self._polling.append(request)
        try:
            yield
        finally:
            self._polls[account] -= 1
            self._polling = [one for one in self._polling if one is not request]


@asynccontextmanager
async def local_venue(
    now: datetime, rules: AccountRules | None = None, cash: Decimal = Decimal(100_000)
) -> AsyncIterator[LocalVenue]:
    """Run a venue until the block ends, then break all its connections."""
    venue = LocalVenue(now, rules or AccountRules(), cash)
    application = web.Application()
    for path in LocalVenue._answers:  # noqa: SLF001 - the same module
        method, pattern = path.split(" ")
        application.router.add_route(method, pattern, venue._converse)  # noqa: SLF001
    venue._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)  # noqa: SLF001
    await venue._runner.setup()  # noqa: SLF001
    try:
        await venue.come_back()
        yield venue
    finally:
        venue.behave()
        await venue.go_away()
        await venue._runner.cleanup()  # noqa: SLF001


def _named(request: web.Request) -> tuple[str, ClientOrderId]:
    return request.match_info["account"], ClientOrderId(request.match_info["name"])


def _found(document: Any) -> Answer:
    return (404, {"error": "not known"}) if document is None else (200, document)
