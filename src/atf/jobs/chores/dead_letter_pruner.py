"""The dead-letter pruner: deletes dead letters that are old or too many."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

_MOST_OF_A_SCHEDULE: Final = 100


class DeadLetterStore(Protocol):
    """Dead letters in the database."""

    async def prune_dead_letters(self, older_than: timedelta, most_of_a_schedule: int) -> int:
        """Delete old ones, and of each schedule all but the newest; return how many."""
        ...


class DeadLetterPruner:
    """A chore, done once a day."""

    name = "dead_letter_pruner"
    cron = "37 3 * * *"

    def __init__(self, store: DeadLetterStore, kept: timedelta) -> None:
        self._store = store
        self._kept = kept

    async def run_once(self) -> int:
        """Delete what nobody will look at any more; return how many."""
        return await self._store.prune_dead_letters(self._kept, _MOST_OF_A_SCHEDULE)
