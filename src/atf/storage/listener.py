"""LISTEN on a connection of its own that reconnects; a lost notification is made good by a poll elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Iterable
from typing import Final

import psycopg

from atf.errors import ConfigurationError
from atf.storage.database import database_errors

_LOGGER = logging.getLogger(__name__)
_RECONNECT_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = 5.0


class Listener:
    """Wakes whoever waits when one of its channels is notified, and after every reconnect.

    A reconnect counts as a notification because what was sent meanwhile is lost.
    """

    def __init__(self, direct_url: str, channels: Iterable[str]) -> None:
        self._url = direct_url
        self._channels = tuple(channels)
        self._woken = asyncio.Event()
        self._branches: list[Branch] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen_forever(), name="listener")

    async def stop(self) -> None:
        """Stop listening; harmless when repeated or never started."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """Wake the waiters as a notification would."""
        self._woken.set()
        for branch in self._branches:
            branch.wake()

    def branch(self) -> Branch:
        """Return a waiter of its own, for one of several who each want to be woken."""
        self._branches.append(Branch())
        return self._branches[-1]

    async def wait(self, seconds: float) -> bool:
        """Wait until notified or until the time is over; return whether it was a notification."""
        return await _awaited(self._woken, seconds)

    async def _listen_forever(self) -> None:
        while True:
            try:
                await self._listen()
            except psycopg.Error as exc:
                _LOGGER.warning("listening for notifications failed, trying again: %s", exc)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        async with await _connect(self._url) as connection:
            for channel in self._channels:
                await connection.execute(f'LISTEN "{channel}"')
            self.wake()
            async for _ in connection.notifies():
                self.wake()


class Branch:
    """One of several who wait for the same listener."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Wake who waits here."""
        self._woken.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until notified or until the time is over; return whether it was a notification."""
        return await _awaited(self._woken, seconds)


async def _awaited(woken: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return False
    woken.clear()
    return True


async def require_notifications(direct_url: str) -> None:
    """Prove that a notification arrives; behind a transaction pooler it does not.

    Another connection sends it: a pooler may run both statements of one in the same server session, which then
    hears itself.

    Errors: ConfigurationError that names ATF_DATABASE_DIRECT_URL.
    """
    channel = f"atf_probe_{uuid.uuid4().hex}"
    with database_errors():
        async with await _connect(direct_url) as connection, await _connect(direct_url) as sender:
            await connection.execute(f'LISTEN "{channel}"')
            await sender.execute("SELECT pg_notify(%s, '')", [channel])
            async for _ in connection.notifies(timeout=_PROBE_SECONDS, stop_after=1):
                return
    raise ConfigurationError(
        "ATF_DATABASE_DIRECT_URL: notifications do not arrive on this connection, as behind a pooler in "
        "transaction mode; set it to a URL that reaches PostgreSQL itself"
    )


async def _connect(direct_url: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(direct_url, autocommit=True, connect_timeout=10)
