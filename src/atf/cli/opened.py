"""How a command does something with what has to be opened and closed, such as the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

Opened = TypeVar("Opened")
Result = TypeVar("Result")


def with_opened(
    context: AbstractAsyncContextManager[Opened], work: Callable[[Opened], Awaitable[Result]]
) -> Result:
    """Open, do the work, close, and return what the work returned."""

    async def run() -> Result:
        async with context as opened:
            return await work(opened)

    return asyncio.run(run())
