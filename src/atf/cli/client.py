"""How commands reach the rooms' services."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from atf.bootstrap.client import Client, open_client
from atf.settings import load_settings

T = TypeVar("T")


def with_client(user: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """Open the configured database as a user, do the work, close it, and return what the work returned."""

    async def run() -> T:
        async with open_client(load_settings(), user) as client:
            return await work(client)

    return asyncio.run(run())
