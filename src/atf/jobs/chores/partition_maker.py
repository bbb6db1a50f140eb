"""The partition maker: makes the run table's partitions ahead of the time that they hold."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from atf.market.market_clock import MarketClock


class PartitionStore(Protocol):
    """The partitions of the run table."""

    async def ensure_ahead(self, now: datetime) -> int:
        """Make the partitions that runs around ``now`` and a few days later need; return how many are new."""
        ...


class PartitionMaker:
    """A chore, done every hour and before the first tick."""

    name = "partition_maker"
    cron = "17 * * * *"

    def __init__(self, store: PartitionStore, clock: MarketClock) -> None:
        self._store = store
        self._clock = clock

    async def run_once(self) -> int:
        """Make what is missing."""
        return await self._store.ensure_ahead(await self._clock.now())
