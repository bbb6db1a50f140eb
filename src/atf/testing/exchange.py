"""A local exchange: answers as Binance's spot interfaces do for bars, and misbehaves when told to.

It listens on 127.0.0.1 in the test's own event loop. Needs the extra ``crypto``, which brings aiohttp.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from atf.market.bars import Bars, Series, Timeframe
from atf.market.symbols import joined
from atf.testing.exchange_faults import ROW_FAULTS, Fault, misbehave, wrong_rows
from atf.testing.exchange_payloads import (
    UNKNOWN_INTERVAL,
    UNKNOWN_SYMBOL,
    Row,
    exchange_info,
    kline_frame,
    kline_rows,
    milliseconds,
)

TIME: Final = "/api/v3/time"
EXCHANGE_INFO: Final = "/api/v3/exchangeInfo"
KLINES: Final = "/api/v3/klines"
STREAM: Final = "/ws"
STREAMS: Final = "/stream"

_USUAL_PAGE: Final = 500
_LONGEST_PAGE: Final = 1000
_PATIENCE: Final = 10.0


@dataclass(slots=True)
class _Misbehaviour:
    fault: Fault
    times: int | None


@dataclass(slots=True, eq=False)
class _Socket:
    response: web.WebSocketResponse
    transport: asyncio.Transport
    names: set[str]


class LocalExchange:
    """One exchange with a clock that stands where it is put, and bars that it is given.

    ``now``: its clock; bars that open later do not exist yet, the one that holds it is forming. ``requests``
    counts by path; ``questions`` are the queries about bars, oldest first. ``retry_after`` is the header of
    refusals. ``documents`` are answers by path, such as recorded ones, in place of its own. ``longest_page``: how
    many bars it gives at once, however many are asked for.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.requests: Counter[str] = Counter()
        self.questions: list[dict[str, str]] = []
        self.retry_after = "7"
        self.longest_page = _LONGEST_PAGE
        self.documents: dict[str, Any] = {}
        self._rows: dict[tuple[str, str], dict[int, Row]] = {}
        self._symbols: dict[str, str] = {}
        self._wrongs: dict[str, _Misbehaviour] = {}
        self._sockets: list[_Socket] = []
        self._changed = asyncio.Condition()
        self._released = asyncio.Event()
        self._port = 0

    @property
    def url(self) -> str:
        """Where REST is, without a path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def stream_url(self) -> str:
        """Where the websocket is."""
        return f"ws://127.0.0.1:{self._port}{STREAM}"

    # --- what it holds ---

    def list_symbol(self, symbol: str) -> None:
        """Trade a pair."""
        self._symbols[joined(symbol)] = symbol

    def hold(self, series: Series, bars: Bars) -> None:
        """Have bars of a pair; those of the same times are replaced."""
        self.list_symbol(series.symbol)
        rows = self._rows.setdefault((joined(series.symbol), str(series.timeframe)), {})
        rows.update({row[0]: row for row in kline_rows(series, bars)})

    def misbehave(self, fault: Fault, *, path: str = KLINES, times: int | None = None) -> None:
        """Answer the next requests of a path wrongly: so many, or all until ``behave``."""
        self._wrongs[path] = _Misbehaviour(fault, times)

    def behave(self) -> None:
        """Answer rightly from now on; who was kept waiting is let go."""
        self._wrongs.clear()
        self._released.set()
        self._released = asyncio.Event()

    # --- what it streams ---

    async def send(
        self, series: Series, open_time: datetime, values: Iterable[float], *, is_closed: bool
    ) -> None:
        """Send a bar's state, at the clock's time, to all who subscribed to its series."""
        await self.send_as(series, series, open_time, values, is_closed=is_closed)

    async def send_as(
        self, stream: Series, series: Series, open_time: datetime, values: Iterable[float], *, is_closed: bool
    ) -> None:
        """Send a bar of one series to all who subscribed to another."""
        await self.send_text(stream, json.dumps(self.frame(series, open_time, values, is_closed=is_closed)))

    def frame(
        self, series: Series, open_time: datetime, values: Iterable[float], *, is_closed: bool
    ) -> dict[str, Any]:
        """Return the frame of a bar's state, at the clock's time."""
        return kline_frame(series, open_time, values, is_closed=is_closed, sent_at=self.now)

    async def send_text(self, series: Series, text: str) -> None:
        """Send any text to all who subscribed to a series."""
        for socket in list(self._sockets):
            if _stream_name(series) in socket.names:
                await socket.response.send_str(text)

    async def until_followed(self, *series: Series) -> None:
        """Wait until a connection has subscribed to all these series. Errors: TimeoutError after seconds."""
        names = {_stream_name(each) for each in series}
        await self._until(lambda: any(names <= socket.names for socket in self._sockets))

    async def until_followed_no_more(self, series: Series) -> None:
        """Wait until no connection is subscribed to a series. Errors: TimeoutError after seconds."""
        name = _stream_name(series)
        await self._until(lambda: not any(name in socket.names for socket in self._sockets))

    async def until_requested(self, path: str, times: int) -> None:
        """Wait until a path was requested so many times. Errors: TimeoutError after seconds."""
        await self._until(lambda: self.requests[path] >= times)

    async def drop_connections(self, *, politely: bool = False) -> None:
        """Break all websockets: without a word, or with the code of a server that goes away."""
        for socket in list(self._sockets):
            if politely:
                await socket.response.close(code=1001, message=b"maintenance")
            else:
                socket.transport.abort()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE), self._changed:
            await self._changed.wait_for(condition)

    # --- REST ---

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        async with self._changed:
            self.requests[path] += 1
            self._changed.notify_all()
        fault = self._fault(path)
        if path in {STREAM, STREAMS} and fault is None:
            return await self._converse(request)
        status, document = self._document(request)
        if fault is None:
            return web.json_response(document, status=status)
        if fault in ROW_FAULTS:
            length = Timeframe(request.query["interval"]).length // timedelta(milliseconds=1)
            return web.json_response(wrong_rows(fault, document, length))
        return await misbehave(
            fault, request, document=document, retry_after=self.retry_after, released=self._released
        )

    def _fault(self, path: str) -> Fault | None:
        wrong = self._wrongs.get(path)
        if wrong is None:
            return None
        if wrong.times is not None:
            wrong.times -= 1
            if not wrong.times:
                del self._wrongs[path]
        return wrong.fault

    def _document(self, request: web.Request) -> tuple[int, Any]:
        if request.path in self.documents:
            return 200, self.documents[request.path]
        if request.path == TIME:
            return 200, {"serverTime": milliseconds(self.now)}
        if request.path == EXCHANGE_INFO:
            return 200, exchange_info(self._symbols.values(), self.now)
        if request.path == KLINES:
            return self._klines(dict(request.query))
        return 404, {"code": -1, "msg": "not here"}

    def _klines(self, query: dict[str, str]) -> tuple[int, Any]:
        """Return the oldest bars from ``startTime``, or the newest without it; the forming one is among them."""
        self.questions.append(query)
        if query["symbol"] not in self._symbols:
            return 400, UNKNOWN_SYMBOL
        if query["interval"] not in set(Timeframe):
            return 400, UNKNOWN_INTERVAL
        limit = min(int(query.get("limit", _USUAL_PAGE)), self.longest_page)
        first = int(query.get("startTime", 0))
        last = min(int(query.get("endTime", milliseconds(self.now))), milliseconds(self.now))
        held = self._rows.get((query["symbol"], query["interval"]), {})
        rows = [held[opens] for opens in sorted(held) if first <= opens <= last]
        return 200, rows[:limit] if "startTime" in query else rows[-limit:]

    # --- websocket ---

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        names = {name for name in request.query.get("streams", "").split("/") if name}
        assert request.transport is not None  # noqa: S101 - for the type checker: it is there once prepared
        socket = _Socket(response, request.transport, names)
        self._sockets.append(socket)
        try:
            await self._told()
            async for message in response:
                await self._subscribe(socket, json.loads(message.data))
        finally:
            self._sockets.remove(socket)
            await self._told()
        return response

    async def _subscribe(self, socket: _Socket, asked: dict[str, Any]) -> None:
        if asked["method"] == "SUBSCRIBE":
            socket.names.update(asked["params"])
        elif asked["method"] == "UNSUBSCRIBE":
            socket.names.difference_update(asked["params"])
        await socket.response.send_str(json.dumps({"result": None, "id": asked["id"]}))
        await self._told()

    async def _told(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def local_exchange(now: datetime) -> AsyncIterator[LocalExchange]:
    """Run an exchange until the block ends, then break all its connections."""
    exchange = LocalExchange(now)
    application = web.Application()
    application.router.add_get("/{path:.*}", exchange._answer)  # noqa: SLF001 - the same module
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        exchange._port = runner.addresses[0][1]  # noqa: SLF001
        yield exchange
    finally:
        exchange.behave()
        await exchange.drop_connections()
        await runner.cleanup()


def _stream_name(series: Series) -> str:
    return f"{joined(series.symbol).lower()}@kline_{series.timeframe}"
