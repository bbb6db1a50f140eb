"""The step pruner: deletes the steps of runs that ended long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

_KEPT: Final = timedelta(days=7)
_AT_ONCE: Final = 10_000
_MOST_ROUNDS: Final = 100


class StepStore(Protocol):
    """Steps in the database."""

    async def delete_older(self, age: timedelta, limit: int) -> int:
        """Delete some that were begun longer ago; return how many."""
        ...


class StepPruner:
    """A chore, done once a day; the results of runs hold what came of their steps."""

    name = "step_pruner"
    cron = "41 3 * * *"

    def __init__(self, store: StepStore) -> None:
        self._store = store

    async def run_once(self) -> int:
        """Delete in short transactions; return how many."""
        deleted = 0
        for _ in range(_MOST_ROUNDS):
            count = await self._store.delete_older(_KEPT, _AT_ONCE)
            deleted += count
            if count < _AT_ONCE:
                break
        return deleted
