"""Waiting for what happens on the local Telegram: on a condition, with an end, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

T = TypeVar("T")
PATIENCE: Final = timedelta(seconds=10)


class Changes:
    """Wakes who waits whenever anything has changed; ``count`` says how often that was.

    ``explain`` returns what may help who waited in vain.
    """

    def __init__(self) -> None:
        self.count = 0
        self.explain: Callable[[], str] = str
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Let all who wait look again."""
        self.count += 1
        self._next.set()
        self._next = asyncio.Event()

    async def until(self, condition: Callable[[], T | None], within: timedelta, what: str) -> T:
        """Return what the condition returns as soon as that is true.

        Errors: AssertionError after this long, with ``what`` was waited for.
        """
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await self.until_true(condition)
        except TimeoutError:
            told = f"waited {within.total_seconds():g} s in vain {what}"
            raise AssertionError(f"{told.strip()}{self.explain()}") from None

    async def until_true(self, condition: Callable[[], T | None]) -> T:
        """Return what the condition returns as soon as that is true, however long that takes."""
        while not (found := condition()):
            await self._next.wait()
        return found

    async def until_after(self, count: int) -> None:
        """Wait until more has changed than so often, however long that takes."""
        await self.until_true(lambda: self.count > count)
