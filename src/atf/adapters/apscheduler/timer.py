"""The scheduler's alarm clock: APScheduler holds one stored tick job, and the chores in memory.

What is due is decided elsewhere, from the schedule tables; the stored job only says when to look next. It is
one job because APScheduler's stores do their I/O on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from apscheduler.jobstores.base import BaseJobStore, JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from atf.adapters.apscheduler.cron_trigger import CronExpressionTrigger
from atf.adapters.apscheduler.tick_store import TickStore
from atf.errors import DatabaseUnavailable

Callback = Callable[[], Awaitable[None]]

_log = logging.getLogger(__name__)
_TICKS: Final = "ticks"
_CHORES: Final = "chores"
# Seconds. Sleeping is measured by the monotonic clock, so a jump of the wall clock is noticed only on waking.
_LONGEST_SLEEP: Final = 60.0
# A tick job ends at once, but counts as running until the loop comes round. At the limit APScheduler drops
# the run *and* the job, so the limit must be out of reach.
_NO_LIMIT: Final = 1_000_000

_bells: dict[str, Callable[[str], None]] = {}


async def ring_bell(name: str, instant: str) -> None:
    """Ring the timer of this name in this process; stored jobs refer to this function by its import path."""
    bell = _bells.get(name)
    if bell is None:
        _log.warning("a stored job rang for timer %r, which is not running here", name)
    else:
        bell(instant)


def open_jobstore(engine: Engine) -> BaseJobStore:
    """Return the store that keeps the tick job in ``apscheduler_jobs``; stopping disposes of the engine."""
    return TickStore(engine, "apscheduler_jobs", f"{ring_bell.__module__}:{ring_bell.__qualname__}")


class ApschedulerTimer:
    """Calls ``tick`` at a stored instant, and chores at their cron times.

    A ring during a tick is kept and gives one more tick when that one is done, so ticks never overlap and no
    ring is lost. A job that an earlier process left in the store rings on ``start``. ``name`` tells apart
    timers that live in one process, and must be the same again after a restart.

    Time:   the wall clock of the machine.
    Errors: DatabaseUnavailable if the store fails while the job is set; an error of a callback is logged and
            ends that call.
    """

    def __init__(self, jobstore: BaseJobStore, tick: Callback, *, name: str = "tick") -> None:
        self._tick = tick
        self._name = name
        self._scheduler = _Scheduler(timezone=UTC, jobstores={_TICKS: jobstore, _CHORES: MemoryJobStore()})
        self._is_known = False
        self._set_for: datetime | None = None
        self._is_rung = False
        self._is_stopping = False
        self._ticking: asyncio.Future[None] | None = None
        self._running: set[asyncio.Future[Any]] = set()

    def start(self) -> None:
        """Begin to ring; needs a running event loop.

        Errors: RuntimeError if a timer of this name runs in this process already; DatabaseUnavailable.
        """
        if self._name in _bells:
            raise RuntimeError(f"a timer named {self._name!r} is already running in this process")
        self._is_stopping = False
        with _store_errors():
            self._scheduler.start()
        _bells[self._name] = self._ring

    async def stop(self) -> None:
        """Ring no more, and return when running callbacks have ended; the stored job stays."""
        if not self._scheduler.running:
            return
        self._is_stopping = True
        self._scheduler.pause()
        try:
            await asyncio.sleep(0)  # jobs that were submitted just now begin, and are then waited for
            await asyncio.gather(*self._running, return_exceptions=True)
        finally:
            self._scheduler.shutdown(wait=False)
            _bells.pop(self._name, None)
            await asyncio.sleep(0)  # the scheduler shuts down in the loop's next round

    def ring_at(self, instant: datetime | None) -> None:
        """Set the one stored tick job to this aware instant, at once if it is past; None removes it.

        Nothing is written if the job is already set to this instant and has not rung yet.

        Errors: DatabaseUnavailable.
        """
        wanted = None if instant is None else _to_utc(instant)
        if self._is_known and wanted == self._set_for:
            return
        self._is_known = False  # stays so if the store fails
        with _store_errors():
            if wanted is None:
                with suppress(JobLookupError):
                    self._scheduler.remove_job(self._name, _TICKS)
            else:
                self._store(wanted)
        self._set_for, self._is_known = wanted, True

    def add_chore(self, name: str, cron_expression: str, callback: Callback, *, timezone: str = "UTC") -> None:
        """Call ``callback`` at the times of a cron expression, but not while its last call is running.

        A chore of the same name is replaced.

        Errors: InvalidCron.
        """
        self._scheduler.add_job(
            self._run_chore,
            CronExpressionTrigger(cron_expression, timezone),
            args=(callback,),
            id=name,
            name=name,
            jobstore=_CHORES,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
            replace_existing=True,
        )

    def _store(self, instant: datetime) -> None:
        self._scheduler.add_job(
            ring_bell,
            DateTrigger(instant, timezone=UTC),
            args=(self._name, instant.isoformat()),
            id=self._name,
            name=self._name,
            jobstore=_TICKS,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=_NO_LIMIT,
            replace_existing=True,
        )

    def _ring(self, instant: str) -> None:
        if self._set_for is not None and self._set_for.isoformat() == instant:
            self._set_for = None
        self._is_rung = True
        self._begin_tick()

    def _begin_tick(self) -> None:
        if self._is_rung and self._ticking is None and not self._is_stopping:
            self._is_rung = False
            self._ticking = asyncio.ensure_future(self._tick())
            self._running.add(self._ticking)
            self._ticking.add_done_callback(self._end_tick)

    def _end_tick(self, ticked: asyncio.Future[None]) -> None:
        self._ticking = None
        self._running.discard(ticked)
        if not ticked.cancelled() and (error := ticked.exception()) is not None:
            _log.error("the tick failed", exc_info=error)
        self._begin_tick()

    async def _run_chore(self, callback: Callback) -> None:
        chore = asyncio.ensure_future(callback())
        self._running.add(chore)
        try:
            await chore
        finally:
            self._running.discard(chore)


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as exc:
        raise DatabaseUnavailable(f"the timer's job store failed: {exc}") from exc


class _Scheduler(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler has no types
    """Wakes at least once a minute, and also after the store has failed.

    The base class survives an error only while it reads the due jobs. After one anywhere else, such as a
    database restart between two statements, it would never set its alarm again.
    """

    def _process_jobs(self) -> float | None:
        try:
            wait: float | None = super()._process_jobs()
        except (SQLAlchemyError, JobLookupError):
            _log.warning("the timer's job store failed; trying again", exc_info=True)
            wait = float(self.jobstore_retry_interval)
        return _LONGEST_SLEEP if wait is None else min(wait, _LONGEST_SLEEP)


def _to_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("the timer cannot ring at an instant without a time zone")
    return instant.astimezone(UTC)
