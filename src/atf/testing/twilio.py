"""A local Twilio: takes text messages as its Messages API does, and refuses when told to.

It listens on 127.0.0.1 in the test's own event loop. Needs aiohttp, which the Telegram bot brings.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

ACCOUNT: Final = "AC00000000000000000000000000000001"
AUTH_TOKEN: Final = "twilio-auth-token"  # noqa: S105 - opens nothing but the fake

_MOST_CHARACTERS: Final = 1600


@dataclass(frozen=True, slots=True)
class TextMessage:
    """A message that was taken."""

    sid: str
    to: str
    sender: str
    body: str


@dataclass(slots=True)
class _Refusal:
    status: int
    code: int
    message: str
    retry_after: int | None
    times: int | None


class LocalTwilio:
    """One account.

    ``messages``: what it has taken, oldest first. ``is_silent``: whether it answers nobody until ``behave``.
    ``page``: HTML that it answers with in place of its own documents, with ``page_status``.
    """

    def __init__(self) -> None:
        self.messages: list[TextMessage] = []
        self.requests = 0
        self.is_silent = False
        self.cuts_before_answer = False
        self.page: str | None = None
        self.page_status = 502
        self.requested = asyncio.Event()
        self._refusal: _Refusal | None = None
        self._released = asyncio.Event()
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        server = None if self._runner is None else self._runner.server
        return 0 if server is None else len(server.connections)

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"http://127.0.0.1:{self._port}"

    def refuse(
        self,
        status: int,
        code: int,
        message: str = "no",
        *,
        retry_after: int | None = None,
        times: int | None = None,
    ) -> None:
        """Answer the next messages so: so many, or all until ``behave``."""
        self._refusal = _Refusal(status, code, message, retry_after, times)

    def behave(self) -> None:
        """Take all that is right from now on; who was kept waiting is let go."""
        self._refusal = self.page = None
        self.is_silent = self.cuts_before_answer = False
        self._released.set()
        self._released = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.requests += 1
        self.requested.set()
        if self.is_silent:
            await self._released.wait()
        if self.page is not None:
            return web.Response(status=self.page_status, text=self.page, content_type="text/html")
        refusal = self._wrong(request, str(form.get("To", "")), str(form.get("Body", ""))) or self._told()
        if refusal is not None:
            return _refused(refusal)
        sid = f"SM{len(self.messages):032x}"
        self.messages.append(TextMessage(sid, str(form["To"]), str(form["From"]), str(form["Body"])))
        if self.cuts_before_answer and request.transport is not None:
            request.transport.abort()
        return web.json_response({"sid": sid, "status": "queued", "error_code": None}, status=201)

    def _wrong(self, request: web.Request, to: str, body: str) -> _Refusal | None:
        expected = b64encode(f"{ACCOUNT}:{AUTH_TOKEN}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return _Refusal(401, 20003, "Authenticate", None, None)
        if request.match_info["account"] != ACCOUNT:
            return _Refusal(404, 20404, "The requested resource was not found", None, None)
        if not to.startswith("+") or not to[1:].isdecimal():
            return _Refusal(400, 21211, f"The 'To' number {to} is not a valid phone number.", None, None)
        if not body:
            return _Refusal(400, 21602, "Message body is required.", None, None)
        if len(body) > _MOST_CHARACTERS:
            return _Refusal(400, 21617, "The concatenated message body exceeds the 1600 limit", None, None)
        return None

    def _told(self) -> _Refusal | None:
        told = self._refusal
        if told is not None and told.times is not None:
            told.times -= 1
            if not told.times:
                self._refusal = None
        return told


@asynccontextmanager
async def local_twilio() -> AsyncIterator[LocalTwilio]:
    """Run a Twilio until the block ends, then break all its connections."""
    twilio = LocalTwilio()
    application = web.Application()
    application.router.add_post("/2010-04-01/Accounts/{account}/Messages.json", twilio._answer)  # noqa: SLF001
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        twilio._runner = runner  # noqa: SLF001 - the same module
        twilio._port = runner.addresses[0][1]  # noqa: SLF001
        yield twilio
    finally:
        twilio.behave()
        await runner.cleanup()


def _refused(refusal: _Refusal) -> web.Response:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    document = {
        "code": refusal.code,
        "message": refusal.message,
        "more_info": f"https://www.twilio.com/docs/errors/{refusal.code}",
        "status": refusal.status,
    }
    return web.json_response(document, status=refusal.status, headers=headers)
