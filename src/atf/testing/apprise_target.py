"""A local target for Apprise's ``json://`` URLs: keeps what it is sent, and refuses when told to.

It listens on 127.0.0.1 in the test's own event loop. Needs aiohttp, which the Telegram bot brings.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

PASSWORD: Final = "json-pass-word"  # noqa: S105 - opens nothing but the fake
_LARGEST: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Note:
    """What was sent: title, text, and the files by their names."""

    title: str
    text: str
    files: dict[str, bytes]


class LocalAppriseTarget:
    """Takes notes.

    ``status`` is what it answers with, ``location`` the path to which redirects lead; ``is_silent``: whether it
    answers nobody until ``behave``.
    """

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.paths: list[str] = []
        self.status = 200
        self.location = ""
        self.is_silent = False
        self.requested = asyncio.Event()
        self._released = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """Its URL for Apprise, with a user, a password and a path that nobody may see."""
        return f"json://ann:{PASSWORD}@127.0.0.1:{self.port}/path-secret"

    def behave(self) -> None:
        """Take everything from now on; who was kept waiting is let go."""
        self.status, self.location, self.is_silent = 200, "", False
        self._released.set()
        self._released = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.Response:
        document: dict[str, Any] = await request.json()
        self.paths.append(request.path)
        self.requested.set()
        if self.is_silent:
            await self._released.wait()
        status = 200 if request.path == self.location else self.status
        if status == 200:
            files = {one["filename"]: b64decode(one["base64"]) for one in document.get("attachments", [])}
            self.notes.append(Note(document["title"], document["message"], files))
        return web.Response(status=status, headers={"Location": self.location} if status != 200 else {})


@asynccontextmanager
async def local_apprise_target() -> AsyncIterator[LocalAppriseTarget]:
    """Run a target until the block ends, then break all its connections."""
    target = LocalAppriseTarget()
    application = web.Application(client_max_size=_LARGEST)
    application.router.add_post("/{path:.*}", target._answer)  # noqa: SLF001 - the same module
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        target.port = runner.addresses[0][1]
        yield target
    finally:
        target.behave()
        await runner.cleanup()
