"""The cleaner: drops history that is older than it is kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from atf.clock import Clock

_LOGGER = logging.getLogger(__name__)
_STATISTICS_KEPT: Final = timedelta(days=2 * 366)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept."""

    alert_runs: timedelta = timedelta(hours=24)
    other_runs: timedelta = timedelta(days=90)
    dead_letters: timedelta = timedelta(days=90)


class RetentionStore(Protocol):
    """History in the database."""

    async def drop_expired(self, alert_before: datetime, other_before: datetime) -> Sequence[str]:
        """Drop the parts of the run table that end at or before these instants and hold no open run.

        Returns their names; nothing while another process is at it.
        """
        ...

    async def prune(self, *, misfires_before: datetime, statistics_before: datetime) -> int:
        """Delete old misfires and statistics; return how many rows."""
        ...


class Cleaner:
    """A chore, done every hour. Runs of a replay stay: its database is thrown away as a whole."""

    name = "cleaner"
    cron = "23 * * * *"

    def __init__(self, store: RetentionStore, clock: Clock, retention: Retention | None = None) -> None:
        self._store = store
        self._clock = clock
        self._retention = retention or Retention()

    async def run_once(self) -> Sequence[str]:
        """Drop what has expired; return the names of the dropped parts of the run table."""
        now = self._clock.now()
        expired_at = now - self._retention.other_runs
        dropped = await self._store.drop_expired(now - self._retention.alert_runs, expired_at)
        if dropped:
            _LOGGER.info("old runs dropped: %s", ", ".join(dropped))
        await self._store.prune(misfires_before=expired_at, statistics_before=now - _STATISTICS_KEPT)
        return dropped
