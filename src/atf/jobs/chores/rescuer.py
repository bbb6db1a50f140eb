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

    def __bool__(self) -> bool:
        return bool(self.runs_requeued or self.runs_failed or self.deliveries_requeued)


class RescueStore(Protocol):
    """Where leases and what they hold are stored."""

    async def rescue(self) -> Rescued:
        """Re-queue what is held without a live lease, and forget dead lease rows.

        A run whose attempts are used up fails instead, so that one that kills its worker ends some day.
        """
        ...


class Rescuer:
    """A chore, run every few seconds."""

    def __init__(self, store: RescueStore) -> None:
        self._store = store

    async def run_once(self) -> Rescued:
        """Rescue what there is; log it if there was something."""
        rescued = await self._store.rescue()
        if rescued:
            _LOGGER.warning(
                "rescued from dead workers: %d runs re-queued, %d failed, %d deliveries re-queued",
                rescued.runs_requeued,
                rescued.runs_failed,
                rescued.deliveries_requeued,
            )
        return rescued
