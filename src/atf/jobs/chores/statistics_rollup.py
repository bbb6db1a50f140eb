"""The roll-up: adds the runs of closed hours up, so that statistics outlive the runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Protocol

from atf.clock import Clock

_HOUR: Final = timedelta(hours=1)
_AGAIN: Final = 3 * _HOUR
"""So much is added up again, for runs whose end was committed late."""
_WINDOW: Final = timedelta(days=1)


class StatisticsStore(Protocol):
    """Sums of runs by hour, user, type and status."""

    async def newest_hour(self) -> datetime | None:
        """Return the newest hour that has been added up, None if there is none."""
        ...

    async def add_up(self, begin: datetime, end: datetime) -> int:
        """Store the sums of the runs that ended in [begin, end); return how many there are.

        Repeating it changes nothing, and sums never shrink. Nothing is done while another process is at it.
        """
        ...


class StatisticsRollup:
    """A chore, done seven minutes past the hour and every ten minutes after that: a late start catches up."""

    name = "statistics_rollup"
    cron = "7-59/10 * * * *"

    def __init__(self, store: StatisticsStore, clock: Clock, kept: timedelta = timedelta(days=90)) -> None:
        """``kept``: how far back there may be runs that nobody has added up."""
        self._store = store
        self._clock = clock
        self._kept = kept

    async def run_once(self) -> int:
        """Add up what is new, a day at a time; return how many sums were stored."""
        now = self._clock.now()
        end = now.replace(minute=0, second=0, microsecond=0)
        newest = await self._store.newest_hour()
        begin = end - self._kept if newest is None else max(newest + _HOUR - _AGAIN, end - self._kept)
        stored = 0
        while begin < end:
            stored += await self._store.add_up(begin, min(begin + _WINDOW, end))
            begin += _WINDOW
        return stored
