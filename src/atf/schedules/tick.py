"""The tick: turns due schedule groups into due runs. Any number of schedulers may tick at once.

A group is advanced only after the runs of all its schedules are stored, and a run that is stored already is
left alone, so a tick that dies half-way is simply done again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from atf.errors import InvalidCron
from atf.market.market_clock import MarketClock
from atf.schedules.cron_parser import CronParser

_LOGGER = logging.getLogger(__name__)
_CHUNK: Final = 10_000
_JUST_BEFORE: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DueGroup:
    """Schedules with the same cron, time zone and calendar whose time has come."""

    group_id: int
    cron: str
    timezone: str
    next_fire_at: datetime


@dataclass(frozen=True, slots=True)
class Firing:
    """One instant of a group for which runs are made, and the instant to wait for afterwards."""

    group: DueGroup
    instant: datetime
    next_fire_at: datetime


@dataclass(frozen=True, slots=True)
class Chunk:
    """How far a firing has come: None as ``last_schedule_id`` means that all its runs are stored."""

    runs_created: int
    last_schedule_id: int | None


class GroupStore(Protocol):
    """Schedule groups and the runs made from them."""

    async def due_groups(self, now: datetime) -> list[DueGroup]:
        """Return the groups whose time has come, earliest first."""
        ...

    async def fire(self, firing: Firing, *, after_schedule_id: int, limit: int) -> Chunk | None:
        """Store the runs of up to ``limit`` schedules in one transaction; advance the group with the last.

        Returns None if another scheduler is at work on this group or has finished it.
        """
        ...

    async def count_active(self) -> int:
        """Return how many schedules are enabled."""
        ...

    async def park(self, group: DueGroup) -> None:
        """Let a group that cannot be computed any more sleep until one of its schedules is changed."""
        ...

    async def next_fire_at(self) -> datetime | None:
        """Return the earliest instant at which any group is due; None if nothing is scheduled."""
        ...


class Tick:
    """Fires what is due at the market's time."""

    def __init__(self, groups: GroupStore, clock: MarketClock) -> None:
        self._groups = groups
        self._clock = clock

    async def fire_due(self) -> int:
        """Create the due runs of all due groups; return how many are new."""
        now = await self._clock.now()
        created = 0
        for group in await self._groups.due_groups(now):
            try:
                firing = firing_of(group, now)
            except InvalidCron as exc:  # as when a new time zone database no longer has the zone
                _LOGGER.error("schedules at '%s' %s do not run any more: %s", group.cron, group.timezone, exc)
                await self._groups.park(group)
                continue
            created += await self._fire(firing)
        return created

    async def active_schedules(self) -> int:
        """Return how many schedules are enabled."""
        return await self._groups.count_active()

    async def rings_at(self) -> datetime | None:
        """Return the wall instant of the next tick, None if nothing is scheduled or a replay must step."""
        next_fire_at = await self._groups.next_fire_at()
        if next_fire_at is None:
            return None
        return self._clock.rings_at(next_fire_at, await self._clock.now())

    async def _fire(self, firing: Firing) -> int:
        created, cursor = 0, 0
        while True:
            chunk = await self._groups.fire(firing, after_schedule_id=cursor, limit=_CHUNK)
            if chunk is None:
                return created
            created += chunk.runs_created
            if chunk.last_schedule_id is None:
                return created
            cursor = chunk.last_schedule_id


def firing_of(group: DueGroup, now: datetime) -> Firing:
    """Return the instant to fire: the newest due one, as missed ones are caught up by the run itself. Pure."""
    latest = CronParser.latest_run(group.cron, group.timezone, after=group.next_fire_at - _JUST_BEFORE, until=now)
    upcoming = CronParser.calculate_next_run(group.cron, group.timezone, after=now)
    return Firing(group, latest or group.next_fire_at, upcoming)
