"""A local Telegram: answers as api.telegram.org does to a bot, and misbehaves when told to.

It listens on 127.0.0.1 in the caller's own event loop. ``telegram_world`` has what happens on it,
``telegram_chats`` the people, ``telegram_limits`` and ``telegram_faults`` what goes wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from atf.testing.telegram_api.calls import Call, read_call
from atf.testing.telegram_api.methods import check_token, perform
from atf.testing.telegram_api.refusals import Refusal
from atf.testing.telegram_faults import BEFORE_ACCEPTANCE, Fault, Misbehaviour, misbehave
from atf.testing.telegram_limits import TelegramLimits
from atf.testing.telegram_world import TOKEN, TelegramWorld

__all__ = ["TOKEN", "Fault", "LocalTelegram", "TelegramLimits", "local_telegram"]

_HOST: Final = "127.0.0.1"
_LARGEST_REQUEST: Final = 64 * 1024 * 1024


class LocalTelegram(TelegramWorld):
    """The world of one bot, served by HTTP."""

    def __init__(self, *arguments: Any, port: int = 0, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.webhook.answer = self._obey
        self._port = port
        self._wrongs: list[Misbehaviour] = []
        self._released = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._site: web.BaseSite | None = None
        self._kept_port: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a path: the base of ``/bot<token>/<method>``."""
        return f"http://{_HOST}:{self._port}"

    @property
    def port(self) -> int:
        """Where it listens, also while it refuses connections."""
        return self._port

    # --- what goes wrong ---

    def misbehave(
        self,
        fault: Fault,
        *,
        method: str | None = None,
        chat_id: int | None = None,
        times: int | None = None,
        retry_after: int = 3,
        delay: timedelta = timedelta(seconds=1),
    ) -> None:
        """Answer requests of a method or all, about a chat or all, wrongly: so many, or until ``behave``.

        Of several faults that concern a request the one that was told first is done. ``retry_after`` (seconds)
        belongs to ``THROTTLED``, ``delay`` to ``SLOW``.
        """
        self._wrongs.append(Misbehaviour(fault, method, chat_id, times, retry_after, delay))

    def behave(self) -> None:
        """Answer rightly from now on; who was kept waiting is let go."""
        self._wrongs.clear()
        self._released.set()
        self._released = asyncio.Event()

    async def refuse_connections(self) -> None:
        """Listen no more and break all connections, as in an outage; nobody else gets the port."""
        if self._site is None:
            return
        await self._site.stop()
        self._site = None
        self._kept_port = _bound(self._port)
        self._break_connections()

    async def listen_again(self) -> None:
        """Listen on the same port as before."""
        if self._site is None:
            await self._listen(self._kept_port or _bound(self._port))

    # --- running ---

    async def start(self, application: web.Application | None = None) -> None:
        """Listen; ``application`` may have routes of its own. Errors: OSError if the port is taken."""
        application = application or web.Application(client_max_size=_LARGEST_REQUEST)
        application.router.add_route("*", "/bot{token:[^/]+}/{method:.*}", self._answer)
        application.router.add_get("/file/bot{token:[^/]+}/{path:.+}", self._download)
        application.router.add_route("*", "/{path:.*}", _not_found)
        # Who hangs up has a long poll no more: its handler is cancelled.
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await self._listen(_bound(self._port))
        except OSError:
            await self._runner.cleanup()
            raise

    async def stop(self) -> None:
        """Break all connections and listen no more."""
        self.behave()
        await self.webhook.end()
        if self._kept_port is not None:
            self._kept_port.close()
        if self._runner is not None:
            self._break_connections()
            await self._runner.cleanup()

    async def _listen(self, bound: socket.socket) -> None:
        assert self._runner is not None  # noqa: S101 - for the type checker: it is started
        self._kept_port = None
        self._site = web.SockSite(self._runner, bound)
        await self._site.start()
        self._port = bound.getsockname()[1]

    def _break_connections(self) -> None:
        server = self._runner.server if self._runner is not None else None
        for connection in list(server.connections) if server is not None else []:
            if connection.transport is not None:
                connection.transport.abort()

    # --- answers ---

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.requests[method] += 1
        self.changes.tell()
        try:
            call = await read_call(request, method)
        except Refusal as refusal:
            return _refused(refusal)
        wrong = self._next_wrong(call)
        status, document = 200, dict[str, Any]()
        if wrong is None or wrong.fault not in BEFORE_ACCEPTANCE:
            status, document = await self._status_and_document(request, call)
        if wrong is None:
            return _response(status, document)
        return await misbehave(wrong, request, status=status, document=document, released=self._released)

    async def _status_and_document(self, request: web.Request, call: Call) -> tuple[int, Any]:
        try:
            outcome = await perform(self, request.match_info["token"], call)
        except Refusal as refusal:
            return refusal.code, refusal.document
        return 200, outcome.document

    async def _obey(self, call: Call) -> None:
        self.requests[call.method] += 1
        await perform(self, self.token, call)

    def _next_wrong(self, call: Call) -> Misbehaviour | None:
        wrong = next((one for one in self._wrongs if one.concerns(call.method, call.text("chat_id"))), None)
        if wrong is not None and wrong.times is not None:
            wrong.times -= 1
            if not wrong.times:
                self._wrongs.remove(wrong)
        return wrong

    async def _download(self, request: web.Request) -> web.Response:
        try:
            check_token(self, request.match_info["token"])
        except Refusal as refusal:
            return _refused(refusal)
        stored = self.files.at(request.match_info["path"])
        if stored is None:
            return _refused(Refusal(404, "Not Found"))
        return web.Response(body=stored.content, content_type="application/octet-stream")


@asynccontextmanager
async def local_telegram(
    token: str = TOKEN,
    *,
    limits: TelegramLimits | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    calendar: Callable[[], datetime] | None = None,
    port: int = 0,
) -> AsyncIterator[LocalTelegram]:
    """Run a local Telegram for one bot until the block ends, then break all its connections."""
    telegram = LocalTelegram(token, limits=limits, monotonic=monotonic, calendar=calendar or _utc_now, port=port)
    await telegram.start()
    try:
        yield telegram
    finally:
        await telegram.stop()


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _response(status: int, document: Any) -> web.Response:
    wait = document.get("parameters", {}).get("retry_after")
    headers = {"Retry-After": str(wait)} if wait is not None else {}
    return web.json_response(document, status=status, headers=headers)


def _refused(refusal: Refusal) -> web.Response:
    return _response(refusal.code, refusal.document)


async def _not_found(_request: web.Request) -> web.Response:
    return _refused(Refusal(404, "Not Found"))


def _bound(port: int) -> socket.socket:
    """Return a socket that has the port of this machine's own address and does not listen yet."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((_HOST, port))
    except OSError:
        with contextlib.suppress(OSError):
            bound.close()
        raise
    return bound
