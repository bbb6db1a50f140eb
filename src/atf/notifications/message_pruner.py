"""The message pruner: deletes messages that are old, with their deliveries."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from atf.clock import Clock


class MessageHistory(Protocol):
    """Messages in the database."""

    async def prune_messages(self, before: datetime) -> int:
        """Delete messages that were written before an instant and of which nothing waits; return how many."""
        ...


class MessagePruner:
    """A chore, done once a day."""

    name = "message_pruner"
    cron = "47 3 * * *"

    def __init__(self, history: MessageHistory, clock: Clock, kept: timedelta) -> None:
        self._history = history
        self._clock = clock
        self._kept = kept

    async def run_once(self) -> int:
        """Delete what is older than it is kept; return how many messages."""
        return await self._history.prune_messages(self._clock.now() - self._kept)
