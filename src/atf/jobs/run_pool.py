"""RunPool: runs one by one, each with its time limit; what one of them does costs only itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from atf.errors import PermanentFailure, TemporaryFailure
from atf.jobs import pool
from atf.jobs.handler import Job, RunHandler
from atf.jobs.job_type import JobLimits
from atf.jobs.pool import PoolSeams, cancel_all, error_of, is_being_cancelled
from atf.jobs.queue import Cancelled, Outcome, PutBack, Wanted
from atf.jobs.retry import is_permanent, pause_before_retry
from atf.jobs.run import ClaimedRun, Completion, Failure, WorkerId
from atf.jobs.run_log import ids_of

_LOGGER = logging.getLogger(__name__)
_AHEAD_SECONDS: Final = 0.05
"""Short runs are claimed ahead: as many as are done within this time."""
_LONGEST_AHEAD_SECONDS: Final = 2.0


@dataclass(slots=True)
class _Work:
    """A run in somebody's hands."""

    worker_id: WorkerId
    run: ClaimedRun
    limits: JobLimits
    accepted_at: float = 0.0
    began: float = 0.0
    timer: asyncio.Timeout | None = None
    told_to_stop_at: float | None = None
    is_cancelled: bool = False
    is_over: bool = False

    def stop(self) -> None:
        """Interrupt the handler where it waits, if it is at work and has not been told already."""
        if self.told_to_stop_at is None and self.timer is not None:
            self.told_to_stop_at = time.monotonic()
            if not self.timer.expired():
                self.timer.reschedule(0)


class RunPool:
    """Runs one by one, ``concurrency`` at a time.

    Runs that take long are claimed when there is room to begin them, so that no worker hoards what another could
    do. Runs that take next to nothing are claimed ahead, so that claiming costs next to nothing too.
    """

    def __init__(self, handler: RunHandler, seams: PoolSeams) -> None:
        self._handler = handler
        self._definition = seams.definition
        self._seams = seams
        self._metrics = seams.metrics
        self._keeps_time: bool = getattr(handler, "keeps_time", False)
        self._slots = seams.definition.limits.concurrency
        self._waiting: deque[_Work] = deque()
        self._in_hand: dict[int, _Work] = {}
        self._tasks: dict[asyncio.Task[None], _Work | None] = {}
        self._stuck: set[asyncio.Task[None]] = set()  # only so that the loop does not lose them
        self._unwritten = 0
        self._seconds_a_run = _AHEAD_SECONDS

    @property
    def wanted(self) -> Wanted | None:
        """Room for what can begin soon."""
        room = self._room()
        return None if room == 0 else Wanted(self._definition.name, room, self._definition.limits.max_runtime)

    def _room(self) -> int:
        """Return how many runs to claim: of short ones many at a time, so not before half of them are done."""
        ahead = int(self._slots * _AHEAD_SECONDS / max(self._seconds_a_run, 1e-6))
        target = max(self._slots, min(ahead, self._seams.most))
        room = target - (len(self._in_hand) - self._unwritten)
        least = 1 if target == self._slots else target // 2
        return room if room >= least else 0

    @property
    def in_hand(self) -> Iterable[int]:
        """The ids of the runs that are claimed and not yet written down."""
        return self._in_hand

    def accept(self, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> None:
        """Queue runs, and begin as many as there are slots for."""
        self._metrics.claimed += len(runs)
        for run in runs:
            self._metrics.waiting.observe(run.waited.total_seconds())
            self._drop_former(run)
            limits = self._definition.limits.own(run.snapshot)
            work = _Work(worker_id, run, limits, accepted_at=time.monotonic())
            self._in_hand[run.key.id] = work
            self._waiting.append(work)
        for _ in range(min(len(runs), self._slots - len(self._tasks))):
            self._start_one()

    def _drop_former(self, run: ClaimedRun) -> None:
        """Whoever gets a run that is in hand already had it taken away meanwhile: the earlier try is void."""
        if (former := self._in_hand.pop(run.key.id, None)) is None:
            return
        if former.is_over:
            self._unwritten -= 1
        former.is_over = True
        former.stop()

    def _start_one(self) -> None:
        task = asyncio.create_task(self._do_waiting(), name=f"{self._definition.name}-slot")
        self._tasks[task] = None
        task.add_done_callback(self._stuck.discard)

    async def _do_waiting(self) -> None:
        """One slot: do what waits, then end. A slot whose run was given up has been replaced and ends too."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            while self._waiting and task in self._tasks:
                self._tasks[task] = work = self._waiting.popleft()
                if work.is_over:
                    continue
                self._metrics.busy += 1
                try:
                    outcome = await self._outcome(work)
                finally:
                    self._metrics.busy -= 1
                self._end(work, outcome)
        finally:  # at once, and not when the loop calls back: a run that comes in between must find the slot free
            self._tasks.pop(task, None)

    async def _outcome(self, work: _Work) -> Outcome:
        run = work.run
        work.began = time.monotonic()
        try:
            async with asyncio.timeout(
                None if self._keeps_time else work.limits.max_runtime.total_seconds()
            ) as timer:
                work.timer = timer
                self._definition.check(run.snapshot.get("target", ""), run.snapshot.get("task_params", {}))
                result = await self._handler.handle(Job.of(run, work.limits.max_runtime))
            if not isinstance(result, Mapping):
                raise PermanentFailure(f"the handler returned {type(result).__name__} instead of an object")
            return Completion(run, result, seconds=time.monotonic() - work.began)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and is_being_cancelled():
                raise
            return self._outcome_of_error(work, exc)
        finally:
            work.timer = None
            self._measure(time.monotonic() - work.began)

    def _outcome_of_error(self, work: _Work, error: BaseException) -> Outcome:
        if work.is_cancelled:
            return Cancelled(work.run)
        error = error_of(error)
        if isinstance(error, TimeoutError) and work.timer is not None and work.timer.expired():
            error = TimeoutError(f"took longer than {work.limits.max_runtime.total_seconds():g} s")
        return self._failure(work, error)

    def _failure(self, work: _Work, error: Exception) -> Failure:
        run, first = work.run, work.limits.retry_delay
        permanent = is_permanent(error)
        is_expected = permanent or isinstance(error, TemporaryFailure | TimeoutError)
        trace = None if is_expected else error
        _LOGGER.error("Job %s failed: %s", run.name, error, exc_info=trace, extra=ids_of(run))
        return Failure(run, error, permanent, pause_before_retry(error, run.attempt, first, self._seams.jitter()))

    def _measure(self, seconds: float) -> None:
        self._metrics.running.observe(seconds)
        self._seconds_a_run += (seconds - self._seconds_a_run) * 0.1

    def _end(self, work: _Work, outcome: Outcome) -> None:
        if not work.is_over:
            work.is_over = True
            self._unwritten += 1
            self._seams.report(work.worker_id, outcome)
            if self._room():
                self._seams.has_room()

    def cancel(self, ids: frozenset[int]) -> None:
        """Stop those of these runs that are here."""
        for run_id in ids & self._in_hand.keys():
            work = self._in_hand[run_id]
            work.is_cancelled = True
            work.stop()
        for work in [one for one in self._waiting if one.is_cancelled]:
            self._waiting.remove(work)
            self._end(work, Cancelled(work.run))

    def watch(self) -> None:
        """End the runs of handlers that did not stop when they were told to; their slots are made anew."""
        now = time.monotonic()
        self._return_hoarded(now)
        for task, work in list(self._tasks.items()):
            if work is None or work.timer is None:
                continue
            if work.told_to_stop_at is None and work.timer.expired():
                work.told_to_stop_at = now
            if work.told_to_stop_at is not None and now - work.told_to_stop_at > pool.GRACE_SECONDS:
                self._give_up(task, work)

    def _return_hoarded(self, now: float) -> None:
        """Put back what was claimed ahead and does not get its turn: others may have slots for it."""
        if self._waiting and now - self._waiting[0].accepted_at > _LONGEST_AHEAD_SECONDS:
            self._seconds_a_run = max(self._seconds_a_run, _AHEAD_SECONDS)  # they are not as short as they were
            self.return_waiting()

    def _give_up(self, task: asyncio.Task[None], work: _Work) -> None:
        _LOGGER.error("Job %s does not stop; its run ends without it", work.run.name)
        del self._tasks[task]
        self._stuck.add(task)
        error = TimeoutError(f"took longer than {work.limits.max_runtime.total_seconds():g} s and did not stop")
        self._end(work, Cancelled(work.run) if work.is_cancelled else self._failure(work, error))
        if self._waiting:
            self._start_one()

    def forget(self, run: ClaimedRun) -> None:
        """Let go of a run that is written down."""
        if (work := self._in_hand.get(run.key.id)) is not None and work.run is run:
            del self._in_hand[run.key.id]
            self._unwritten -= 1

    def return_waiting(self) -> None:
        """Put back what has not begun."""
        while self._waiting:
            work = self._waiting.popleft()
            self._end(work, PutBack(work.run))

    async def abandon(self) -> None:
        """Stop everything and report nothing. A handler that does not stop keeps no slot from the next runs."""
        tasks, self._tasks = self._tasks, {}
        self._stuck.update(tasks)
        self._waiting.clear()
        self._in_hand.clear()
        self._unwritten = 0
        for work in tasks.values():
            if work is not None:
                work.is_over = True
        await cancel_all(tasks)
