"""SchedulerService: keeps the timer set, ticks when it rings, and runs the chores.

Of all schedulers on a database one holds the timer lock and writes APScheduler's store; the others stand by,
tick on their slow poll, and take over when the lock is free.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from atf.errors import AtfError
from atf.jobs.chores.chore import Chore
from atf.jobs.claim_loop import Waiter
from atf.lifecycle import Progress, Service
from atf.market.market_clock import MarketClock
from atf.schedules.tick import Tick

_LOGGER = logging.getLogger(__name__)


class Timer(Protocol):
    """An alarm clock that holds one tick and calls chores at their times."""

    def start(self) -> None:
        """Begin to ring."""
        ...

    async def stop(self) -> None:
        """Ring no more."""
        ...

    def ring_at(self, instant: datetime | None) -> None:
        """Set the one tick. Errors: DatabaseUnavailable."""
        ...

    def add_chore(self, name: str, cron_expression: str, callback: Callable[[], Awaitable[None]]) -> None:
        """Call something at the times of a cron expression."""
        ...


class TimerLock(Protocol):
    """The lock that one scheduler of all holds."""

    async def try_acquire(self) -> bool:
        """Return whether this process holds the lock now."""
        ...

    async def release(self) -> None:
        """Give the lock back."""
        ...


class SchedulerState(StrEnum):
    """What a scheduler is doing, as its health tells it; ``failing``: some schedules cannot be fired now."""

    STARTING = "starting"
    RUNNING = "running"
    FAILING = "failing"
    STANDBY = "standby"
    STOPPED = "stopped"


class SchedulerService(Service):
    """Turns schedules into due runs, at the market's time.

    It counts as started when it could tick, which is when the chore ``before_first_tick`` is done; the start-up
    delay only postpones its first due tick.
    """

    def __init__(
        self,
        tick: Tick,
        clock: MarketClock,
        chores: Sequence[Chore],
        *,
        before_first_tick: Chore,
        open_timer: Callable[[Callable[[], Awaitable[None]]], Timer],
        lock: TimerLock,
        waiter: Waiter,
        poll: timedelta,
        startup_delay: timedelta = timedelta(0),
        progress: Progress | None = None,
    ) -> None:
        super().__init__("scheduler")
        self._tick = tick
        self._clock = clock
        self._chores = chores
        self._before_first_tick = before_first_tick
        self._open_timer = open_timer
        self._lock = lock
        self._waiter = waiter
        self._poll = poll
        self._startup_delay = startup_delay
        self._progress = progress or Progress()
        self._state = SchedulerState.STARTING
        self._timer: Timer | None = None

    @property
    def state(self) -> SchedulerState:
        """What the scheduler is doing now."""
        is_at_work = self._state in (SchedulerState.RUNNING, SchedulerState.STANDBY)
        return SchedulerState.FAILING if is_at_work and self._tick.failing_groups else self._state

    async def _serve(self, started: Callable[[], None]) -> None:
        """Schedule until cancelled; whatever goes wrong is logged and tried again at the next poll."""
        try:
            await self._until_ready()
            started()
            await self._survive(self._tell_started())
            await asyncio.sleep(self._startup_delay.total_seconds())
            notified = False
            while True:
                await self._survive(self._round(notified))
                self._progress.mark()
                notified = await self._waiter.wait(self._poll.total_seconds())
        finally:
            await asyncio.shield(self._shut_down())

    async def _tell_started(self) -> None:
        count = await self._tick.active_schedules()
        _LOGGER.info("SchedulerService started with %d active schedules", count)

    async def _until_ready(self) -> None:
        """A tick must find its partitions: make them before the first one."""
        while not await self._survive(self._before_first_tick.run_once()):
            await self._waiter.wait(1)

    async def _survive(self, work: Awaitable[object], name: str = "scheduling") -> bool:
        try:
            await work
        except (AtfError, OSError) as exc:
            _LOGGER.warning("%s failed, trying again: %s", name, exc)
            return False
        return True

    async def _round(self, notified: bool) -> None:
        """A notification sets the timer anew; the slow poll beneath it ticks by itself, timer or not."""
        await self._keep_timer()
        if not notified or self._timer is None:
            await self._tick.fire_due()
        await self._advance()

    async def _ring(self) -> None:
        await self._survive(self._fire_and_advance())

    async def _fire_and_advance(self) -> None:
        await self._tick.fire_due()
        await self._advance()

    async def _advance(self) -> None:
        """Set the timer to what is due next; a replay moves on until something is."""
        rings_at = await self._tick.rings_at()
        while rings_at is None and await self._clock.step():
            rings_at = await self._tick.rings_at()
        if self._timer is not None:
            self._timer.ring_at(rings_at)

    async def _keep_timer(self) -> None:
        is_ours = await self._lock.try_acquire()
        if is_ours and self._timer is None:
            timer = self._open_timer(self._ring)
            for chore in self._chores:
                timer.add_chore(chore.name, chore.cron, self._surviving(chore))
            timer.start()
            self._timer = timer
            _LOGGER.info("this scheduler holds the timer")
        elif not is_ours:
            await self._stop_timer()
        self._state = SchedulerState.RUNNING if is_ours else SchedulerState.STANDBY

    def _surviving(self, chore: Chore) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            await self._survive(chore.run_once(), chore.name)

        return do

    async def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            await timer.stop()

    async def _shut_down(self) -> None:
        self._state = SchedulerState.STOPPED
        await self._stop_timer()
        await self._lock.release()
