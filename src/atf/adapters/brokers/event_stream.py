"""What a venue pushes, kept until whoever listens takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from atf.trading.broker import VenueEvent


class EventStream(AsyncIterator[VenueEvent]):
    """Events from the moment it was made, until it is ended or fails; what was put before is still given."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[VenueEvent | None] = asyncio.Queue()
        self._failure: Exception | None = None
        self._taken = asyncio.Event()
        self._taken.set()

    def put(self, events: Sequence[VenueEvent]) -> None:
        """Add events; none after the end."""
        for event in events:
            self._taken.clear()
            self._waiting.put_nowait(event)

    def end(self, failure: Exception | None = None) -> None:
        """End it, with an error or without."""
        self._failure = failure
        self._waiting.put_nowait(None)
        self._taken.set()

    async def taken(self) -> None:
        """Return when whoever listens has taken in all that was put, or when it has ended."""
        await self._taken.wait()

    async def __anext__(self) -> VenueEvent:
        if self._waiting.empty():  # who asks for the next one has taken in the last one
            self._taken.set()
        event = await self._waiting.get()
        if event is not None:
            return event
        self._waiting.put_nowait(None)  # asked again, it ends again
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration
