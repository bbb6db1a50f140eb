"""A receiver of ATF's webhooks, as one should be: it checks signatures and takes each message once.

It listens on 127.0.0.1 in the test's own event loop. Needs aiohttp, which the Telegram bot brings.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from atf.notifications.webhook_signature import HEADER, verify

SECRET: Final = "signing-key-of-ann"  # noqa: S105 - opens nothing but the fake


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was taken: what it says, and the headers it came with, names in small letters."""

    document: dict[str, Any]
    headers: Mapping[str, str]


class LocalReceiver:
    """Takes what is signed with its secret.

    ``taken``: each message once; ``repeated`` counts those that came again. ``status`` and ``retry_after`` are
    what it answers with in place of 200. ``is_silent``: whether it answers nobody until ``behave``;
    ``cuts_before_answer``: whether it hangs up in place of an answer.
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.taken: list[Taken] = []
        self.repeated = 0
        self.status = 200
        self.retry_after: int | None = None
        self.is_silent = False
        self.cuts_before_answer = False
        self.requested = asyncio.Event()
        self.port = 0
        self._ids: set[str] = set()
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it is; nobody may see the path."""
        return f"http://127.0.0.1:{self.port}/path-secret?key=query-secret"

    def behave(self) -> None:
        """Take everything that is signed from now on; who was kept waiting is let go."""
        self.status, self.retry_after = 200, None
        self.is_silent = self.cuts_before_answer = False
        self._released.set()
        self._released = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requested.set()
        if self.is_silent:
            await self._released.wait()
        if self.cuts_before_answer and request.transport is not None:
            request.transport.abort()
        if self.status != 200:
            waits = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
            return web.Response(status=self.status, text="words of the receiver", headers=waits)
        if not verify(request.headers.get(HEADER, ""), body, self.secret, datetime.now(UTC)):
            return web.Response(status=401, text="not signed")
        self._take(json.loads(body), request)
        return web.Response()

    def _take(self, document: dict[str, Any], request: web.Request) -> None:
        if document["id"] in self._ids:
            self.repeated += 1
            return
        self._ids.add(document["id"])
        self.taken.append(Taken(document, {name.lower(): value for name, value in request.headers.items()}))


@asynccontextmanager
async def local_receiver(secret: str = SECRET) -> AsyncIterator[LocalReceiver]:
    """Run a receiver until the block ends, then break all its connections."""
    receiver = LocalReceiver(secret)
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/{path:.*}", receiver._answer)  # noqa: SLF001 - the same module
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        receiver.behave()
        await runner.cleanup()
