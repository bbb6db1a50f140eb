"""The local venue's client, written as one for a real venue is: every answer, and lack of one, has its word.

A plug-in makes it the broker type ``local-venue``, with the venue's URL: ``atf.testing.venue_broker:broker_type``
as an entry point of the group ``atf.brokers``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx

from atf.errors import InvalidInput, NotFound, shown
from atf.testing import venue_wire
from atf.trading.broker import (
    Instrument,
    OpenState,
    OrderRejected,
    OrderStatusUnknown,
    VenueEvent,
    VenueOrder,
    VenueUnavailable,
)
from atf.trading.broker_registry import BrokerContext
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder

Read = TypeVar("Read")
_POLL_SECONDS: Final = 30.0
_NOTHING_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOT_WHAT_IT_SHOULD_BE: Final = (KeyError, ValueError, TypeError, ArithmeticError, AttributeError)


class LocalVenueBroker:
    """One account at a local venue; ``timeout_seconds``: how long an answer is waited for."""

    def __init__(
        self,
        url: str,
        account: str,
        *,
        timeout_seconds: float = 5.0,
        visibility_delay: timedelta = timedelta(0),
    ) -> None:
        self._visibility_delay = visibility_delay
        self._account = f"/accounts/{quote(account, safe='')}"
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_seconds, trust_env=False)
        self._closing = asyncio.Event()

    @property
    def visibility_delay(self) -> timedelta:
        """How long after an order was sent the venue may still deny that it knows it."""
        return self._visibility_delay

    async def instrument(self, symbol: str) -> Instrument:
        """Return the rules of a symbol. Errors: NotFound; VenueUnavailable."""
        response = await self._ask(f"/instruments/{quote(symbol)}")
        if response is None:
            raise NotFound(f"{shown(symbol)} is not traded here")
        return _read(response, venue_wire.read_instrument, VenueUnavailable)

    async def submit(self, order: NewOrder) -> VenueOrder:
        """Send an order once and return the acknowledgement."""
        path = f"{self._account}/orders"
        response = await self._change("POST", path, venue_wire.order_document(order))
        if response.is_client_error:
            raise OrderRejected(_reason(response))
        return _read(response, venue_wire.read_venue_order, OrderStatusUnknown)

    async def cancel(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder:
        """Ask for a cancellation and return how the order stands then."""
        response = await self._change("DELETE", self._order_path(client_order_id))
        if response.status_code == httpx.codes.NOT_FOUND:
            raise NotFound(f"the order {client_order_id} is not known")
        if response.is_client_error:  # refused: the order is what it was
            found = await self.order(client_order_id, symbol)
            if found is None:
                raise NotFound(f"the order {client_order_id} is not known")
            return found
        return _read(response, venue_wire.read_venue_order, OrderStatusUnknown)

    async def order(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder | None:  # noqa: ARG002 - the port's
        """Return how an order stands, None if the venue does not know it."""
        response = await self._ask(self._order_path(client_order_id))
        return None if response is None else _read(response, venue_wire.read_venue_order, VenueUnavailable)

    async def fills_of(self, client_order_id: ClientOrderId, symbol: str) -> Sequence[Fill]:  # noqa: ARG002
        """Return all fills of an order so far."""
        response = await self._ask(f"{self._order_path(client_order_id)}/fills")
        return [] if response is None else _read(response, _read_fills, VenueUnavailable)

    async def open_state(self) -> OpenState:
        """Return what the account holds."""
        response = await self._ask(self._account)
        if response is None:
            raise VenueUnavailable("the venue does not know the account")
        return _read(response, venue_wire.read_state, VenueUnavailable)

    async def events(self) -> AsyncIterator[VenueEvent]:
        """Yield what the venue pushes from the first question on, until the broker is closed."""
        after: int | None = None
        while not self._closing.is_set():
            polled = await self._poll(after)
            if polled is None:
                return
            after, events = polled
            for event in events:
                yield event

    async def told(self) -> None:
        """Return at once: how much the venue has pushed is seen when it arrives."""

    async def close(self) -> None:
        """Give back connections; orders stay as they are."""
        self._closing.set()
        await self._http.aclose()

    async def _poll(self, after: int | None) -> tuple[int, Sequence[VenueEvent]] | None:
        """Return the next events and the place behind them, None if the broker is closed meanwhile."""
        polling = asyncio.ensure_future(
            self._ask(f"{self._account}/events", {} if after is None else {"after": str(after)}, _POLL_SECONDS)
        )
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({polling, closing}, return_when=asyncio.FIRST_COMPLETED)
            if self._closing.is_set():
                return None
            response = await polling
        finally:
            for task in (polling, closing):
                task.cancel()
            await asyncio.gather(polling, closing, return_exceptions=True)
        if response is None:
            raise VenueUnavailable("the venue does not know the account")
        return _read(response, _read_events, VenueUnavailable)

    def _order_path(self, client_order_id: ClientOrderId) -> str:
        return f"{self._account}/orders/{quote(client_order_id, safe='')}"

    async def _change(self, method: str, path: str, document: Any = None) -> httpx.Response:
        """Send what changes something; what is not answered may have happened."""
        try:
            response = await self._http.request(method, path, json=document)
        except _NOTHING_SENT as exc:
            raise VenueUnavailable("the venue cannot be reached: no connection") from exc
        except (httpx.HTTPError, RuntimeError) as exc:  # RuntimeError: closed meanwhile
            raise OrderStatusUnknown(f"the venue has not answered ({type(exc).__name__})") from exc
        _require_no_throttling(response)
        if response.is_server_error:
            raise OrderStatusUnknown(f"the venue has failed (HTTP {response.status_code})")
        return response

    async def _ask(
        self, path: str, query: Mapping[str, str] | None = None, timeout_seconds: float | None = None
    ) -> httpx.Response | None:
        """Ask for something; None if it is not known."""
        timeout = httpx.USE_CLIENT_DEFAULT if timeout_seconds is None else httpx.Timeout(timeout_seconds)
        try:
            response = await self._http.get(path, params=query, timeout=timeout)
        except (httpx.HTTPError, RuntimeError) as exc:
            raise VenueUnavailable(f"the venue cannot be asked ({type(exc).__name__})") from exc
        _require_no_throttling(response)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if not response.is_success:
            raise VenueUnavailable(f"the venue cannot be asked (HTTP {response.status_code})")
        return response


class LocalVenueType:
    """The broker type ``local-venue``: ``{"type": "local-venue", "url": …, "account"?, "timeout_seconds"?}``."""

    name = "local-venue"

    def check(self, config: Mapping[str, Any]) -> None:
        """Check a configuration. Errors: InvalidInput."""
        url = config.get("url")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise InvalidInput(f"must be an http URL, got {shown(url)}", field="broker.url")

    async def open(self, config: Mapping[str, Any], context: BrokerContext) -> LocalVenueBroker:
        """Return the broker of a bot; its account is called after it if it names none."""
        self.check(config)
        return LocalVenueBroker(
            config["url"],
            config.get("account") or f"bot-{context.bot_id}",
            timeout_seconds=config.get("timeout_seconds", 5.0),
            visibility_delay=timedelta(seconds=config.get("visibility_seconds", 0)),
        )


broker_type: Final = LocalVenueType()


def _require_no_throttling(response: httpx.Response) -> None:
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        waits = response.headers.get("retry-after", "")
        after = float(waits) if waits.isascii() and waits.isdecimal() else None
        raise VenueUnavailable("the venue wants fewer requests (HTTP 429)", retry_after_seconds=after)


def _read(response: httpx.Response, reads: Callable[[Any], Read], otherwise: type[Exception]) -> Read:
    try:
        return reads(response.json())
    except _NOT_WHAT_IT_SHOULD_BE as exc:
        raise otherwise("the venue's answer cannot be read") from exc


def _read_fills(documents: Any) -> list[Fill]:
    return [venue_wire.read_fill(one) for one in documents]


def _read_events(document: Any) -> tuple[int, list[VenueEvent]]:
    return document["last"], [venue_wire.read_event(one) for one in document["events"]]


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except _NOT_WHAT_IT_SHOULD_BE:
        return f"HTTP {response.status_code}"
