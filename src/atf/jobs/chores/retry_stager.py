"""The retry stager: puts runs into the queue whose pause is over."""

from __future__ import annotations

from typing import Final, Protocol

_CHUNK: Final = 10_000


class StagingStore(Protocol):
    """Runs that wait for their time."""

    async def stage_due(self, limit: int) -> int:
        """Give up to ``limit`` waiting runs whose time has come their place in the queue; return how many."""
        ...


class RetryStager:
    """A chore, done every second."""

    name = "retry_stager"
    cron = "* * * * * *"

    def __init__(self, store: StagingStore) -> None:
        self._store = store

    async def run_once(self) -> int:
        """Stage all that is due, in short transactions; return how many."""
        staged = 0
        while True:
            chunk = await self._store.stage_due(_CHUNK)
            staged += chunk
            if chunk < _CHUNK:
                return staged
