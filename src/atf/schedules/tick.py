"""The tick: turns due schedule groups into due runs. Any number of schedulers may tick at once.

A group is advanced only after the runs of all its schedules are stored, and a schedule whose instants are dealt
with is left alone, so a tick that dies half-way is simply done again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from atf.errors import ConfigurationError, InvalidInput, TemporaryFailure, TransactionConflict
from atf.market.market_clock import MarketClock
from atf.schedules.calendars import CalendarSource
from atf.schedules.catch_up import Outlook, firing_of, is_simple
from atf.schedules.fire_times import FireTimes
from atf.schedules.group_store import Cursor, DueGroup, Firing, GroupStore
from atf.schedules.misfire import Lateness

_LOGGER = logging.getLogger(__name__)
_CHUNK: Final = 10_000
"""Runs stored in one transaction; a tenth of a second on an ordinary machine."""
_CATCHING_UP: Final = 100
"""Groups that catch up in one transaction: their plans go with every statement."""
_TRIES: Final = 3
_TURN: Final = 10
"""Groups planned before the event loop gets its turn; an expression that is parsed anew costs 0.3 ms."""
_PUNCTUAL: Final = timedelta(seconds=1)
"""The smallest grace time there is: what is not later than this fires under every policy."""


class _Look(NamedTuple):
    begun_at: datetime
    ended_at: datetime


class Tick:
    """Fires what is due at the market's time."""

    def __init__(self, groups: GroupStore, clock: MarketClock, calendars: CalendarSource | None = None) -> None:
        self._groups = groups
        self._clock = clock
        self._calendars = calendars
        self._last_look: _Look | None = None
        self._failing: dict[int, str] = {}
        self.missed = 0
        """How many instants of schedules this process has found missed."""

    @property
    def failing_groups(self) -> int:
        """How many groups could not be fired when they were last tried."""
        return len(self._failing)

    async def fire_due(self) -> int:
        """Create the due runs of all due groups; return how many are new.

        What is due is asked as of one instant, so the time that storing takes makes nothing late. A group that
        fails is logged once, counted in ``failing_groups`` and tried again by the next tick.

        Errors: those of the database, which end the tick.
        """
        now = await self._clock.now()
        created, last = 0, None
        while groups := await self._groups.due_groups(now, after=last):
            created += await self._fire_groups(groups, now)
            last = groups[-1]
        self._last_look = _Look(now, await self._clock.now())
        return created

    async def active_schedules(self) -> int:
        """Return how many schedules are enabled."""
        return await self._groups.count_active()

    async def rings_at(self) -> datetime | None:
        """Return the wall instant of the next tick, None if nothing is scheduled or a replay must step.

        Groups that fail are left to the slow poll.
        """
        next_fire_at = await self._groups.next_fire_at(without=tuple(self._failing))
        if next_fire_at is None:
            return None
        return self._clock.rings_at(next_fire_at, await self._clock.now())

    async def _fire_groups(self, groups: Sequence[DueGroup], now: datetime) -> int:
        lateness = self._lateness(now)
        punctual: list[Firing] = []
        late: list[Firing] = []
        for number, group in enumerate(groups, start=1):
            firing = await self._planned(group, now)
            if firing is not None:
                (punctual if is_simple(firing, lateness, _PUNCTUAL) else late).append(firing)
            if number % _TURN == 0:
                await asyncio.sleep(0)
        created = await _repeated(partial(self._store, punctual))
        for start in range(0, len(late), _CATCHING_UP):
            some = late[start : start + _CATCHING_UP]
            created += await _repeated(partial(self._catch_up, some, lateness))
        return created

    def _lateness(self, now: datetime) -> Lateness:
        """What came due while the last look was storing other runs is late from that look's end on only.

        In a replay nothing is late, as time moves only when everything is done.
        """
        look = self._last_look or _Look(now, now)

        def lateness(instant: datetime) -> timedelta:
            if self._clock.is_replay:
                return timedelta(0)
            return now - (look.ended_at if look.begun_at < instant <= look.ended_at else instant)

        return lateness

    async def _planned(self, group: DueGroup, now: datetime) -> Firing | None:
        """Return what is to be fired; None for a group that cannot be computed."""
        try:
            return firing_of(await self._times(group), group, now)
        except InvalidInput as exc:  # as when a new time zone database no longer has the zone
            _LOGGER.error("schedules at '%s' %s do not run any more: %s", group.cron, group.timezone, exc)
            await self._groups.park(group)
        except Exception as exc:  # noqa: BLE001 - one group's mistake must not stop the groups after it
            self._fails(group, exc)
        return None

    async def _times(self, group: DueGroup) -> FireTimes:
        if group.calendar is None:
            return FireTimes(group.cron, group.timezone)
        if self._calendars is None:
            raise ConfigurationError("calendar: this process has no trading calendars")
        return FireTimes(group.cron, group.timezone, await self._calendars.load(group.calendar))

    async def _catch_up(self, firings: Sequence[Firing], lateness: Lateness) -> int:
        """Plan by the rules that the schedules have, and store the runs and the gaps."""
        rules = await self._groups.rules([firing.group for firing in firings])
        outlooks: list[Outlook] = []
        for firing in firings:
            outlooks.append(Outlook.of(firing, rules.get(firing.group.group_id), lateness))
            await asyncio.sleep(0)
        gaps = [gap for outlook in outlooks if (gap := outlook.gap) is not None]
        starts = await self._groups.starts(gaps) if gaps else {}
        planned: list[Firing] = []
        for outlook in outlooks:
            planned.append(outlook.planned(starts.get(outlook.firing.group.group_id, ())))
            await asyncio.sleep(0)
        return await self._store(planned)

    async def _store(self, firings: Sequence[Firing]) -> int:
        """Fire groups together; if that fails, each by itself, so that one is not another's misfortune."""
        try:
            return await self._fire(firings)
        except (TemporaryFailure, ConfigurationError, OSError):
            raise
        except Exception as exc:  # noqa: BLE001 - one group's mistake must not stop the groups after it
            if len(firings) == 1:
                self._fails(firings[0].group, exc)
                return 0
        created = 0
        for firing in firings:
            created += await self._store([firing])
        return created

    async def _fire(self, firings: Sequence[Firing]) -> int:
        created, cursor = 0, Cursor(0, 0)
        left = sorted(firings, key=lambda firing: firing.group.group_id)
        limit = max(1, _CHUNK // max((firing.runs_a_schedule for firing in firings), default=1))
        while left:
            chunk = await self._groups.fire(left, after=cursor, limit=limit)
            created += chunk.runs_created
            self._note_missed(chunk.missed)
            if chunk.resume is None:
                break
            cursor = chunk.resume
            left = [firing for firing in left if firing.group.group_id >= cursor.group_id]
        for firing in firings:
            self._failing.pop(firing.group.group_id, None)
        return created

    def _note_missed(self, missed: int) -> None:
        self.missed += missed
        if missed:
            _LOGGER.warning("%d times at which schedules were due did not run; job_misfires has them", missed)

    def _fails(self, group: DueGroup, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if self._failing.get(group.group_id) != reason:
            _LOGGER.error("schedules at '%s' %s cannot be fired now: %s", group.cron, group.timezone, reason)
        self._failing[group.group_id] = reason


async def _repeated(work: Callable[[], Awaitable[int]]) -> int:
    """Do it again at once when somebody changed a schedule meanwhile: what is stored already is left alone."""
    for _ in range(_TRIES - 1):
        try:
            return await work()
        except TransactionConflict:
            continue
    return await work()
