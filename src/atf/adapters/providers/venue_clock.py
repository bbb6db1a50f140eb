"""The clock of the other side, as far as its answers tell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

_GOOD_FOR: Final = timedelta(minutes=5)
_LEAST_AGE: Final = timedelta(seconds=10)


class VenueClock:
    """Asks for the other side's time now and then, and goes on from there by a clock that nobody sets.

    It is late by the time that an answer takes, never early: a bar that it says is closed is closed there.
    """

    def __init__(self, ask: Callable[[], Awaitable[datetime]], monotonic: Callable[[], float]) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._told: tuple[datetime, float] | None = None
        self._asking = asyncio.Lock()

    async def now(self, wanted: datetime) -> datetime:
        """Return its present instant.

        If it seems not to have reached ``wanted`` it is asked again, unless that was done seconds ago: a machine
        that slept has a clock that stood.

        Errors: those of asking.
        """
        async with self._asking:
            if self._told is None or self._is_doubtful(*self._told, wanted):
                told = await self._ask()
                self._told = (told, self._monotonic())
            return self._at(*self._told)

    def _is_doubtful(self, told: datetime, at: float, wanted: datetime) -> bool:
        age = timedelta(seconds=self._monotonic() - at)
        return age >= _GOOD_FOR or (age >= _LEAST_AGE and self._at(told, at) < wanted)

    def _at(self, told: datetime, at: float) -> datetime:
        return told + timedelta(seconds=self._monotonic() - at)
