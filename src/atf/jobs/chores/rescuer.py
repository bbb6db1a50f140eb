"""The rescuer: gives what a dead process held to the living. Safe to run on every node at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rescued:
    """What one round found."""

    runs_requeued: int = 0
    runs_failed: int = 0
    deliveries_requeued: int = 0
    runs_cancelled: int = 0

    def __bool__(self) -> bool:
        return bool(self.runs_requeued or self.runs_failed or self.deliveries_requeued or self.runs_cancelled)


class RescueStore(Protocol):
    """Where leases and what they hold are stored."""

    async def rescue(self) -> Rescued:
        """Re-queue what is held without a live lease, and forget dead lease rows.

        A run whose attempts are used up fails instead and is buried, so that one that kills its worker ends some
        day; one that a user wanted to end is cancelled.
        """
        ...


class Rescuer:
    """A chore, done every two seconds."""

    name = "rescuer"
    cron = "*/2 * * * * *"

    def __init__(self, store: RescueStore) -> None:
        self._store = store

    async def run_once(self) -> Rescued:
        """Rescue what there is; log it if there was something."""
        rescued = await self._store.rescue()
        if rescued:
            _LOGGER.warning(
                "rescued from dead workers: %d runs re-queued, %d failed, %d cancelled, %d deliveries re-queued",
                rescued.runs_requeued,
                rescued.runs_failed,
                rescued.runs_cancelled,
                rescued.deliveries_requeued,
            )
        return rescued
