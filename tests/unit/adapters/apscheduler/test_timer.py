import asyncio
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from sqlalchemy.exc import OperationalError

from atf.adapters.apscheduler import timer as timer_module
from atf.adapters.apscheduler.timer import ApschedulerTimer
from atf.errors import DatabaseUnavailable, InvalidCron

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FAR = datetime(2090, 1, 1, tzinfo=UTC)


class PickledStore(BaseJobStore):  # type: ignore[misc]  # APScheduler has no types
    """Keeps pickled jobs as the SQL store does, over any number of schedulers; counts its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, tuple[datetime, bytes]] = {}
        self.writes = 0
        self.failures: list[Exception] = []

    def lookup_job(self, job_id: str) -> Any:
        return self._restore(self.rows[job_id][1]) if job_id in self.rows else None

    def get_due_jobs(self, now: datetime) -> list[Any]:
        return [self._restore(state) for instant, state in self.rows.values() if instant <= now]

    def get_next_run_time(self) -> datetime | None:
        if self.failures:
            raise self.failures.pop()
        return min((instant for instant, _ in self.rows.values()), default=None)

    def get_all_jobs(self) -> list[Any]:
        return [self._restore(state) for _, state in self.rows.values()]

    def add_job(self, job: Any) -> None:
        if job.id in self.rows:
            raise ConflictingIdError(job.id)
        self._write(job)

    def update_job(self, job: Any) -> None:
        if job.id not in self.rows:
            raise JobLookupError(job.id)
        self._write(job)

    def remove_job(self, job_id: str) -> None:
        if job_id not in self.rows:
            raise JobLookupError(job_id)
        self.writes += 1
        del self.rows[job_id]

    def remove_all_jobs(self) -> None:
        self.rows.clear()

    def _write(self, job: Any) -> None:
        self.writes += 1
        self.rows[job.id] = (job.next_run_time, pickle.dumps(job.__getstate__()))

    def _restore(self, state: bytes) -> Any:
        job = Job.__new__(Job)
        job.__setstate__(pickle.loads(state))
        job._scheduler, job._jobstore_alias = self._scheduler, self._alias
        return job


class Ticks:
    """A callback that counts its calls and can hold them."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.count = 0
        self.error: Exception | None = None

    async def __call__(self) -> None:
        self.count += 1
        self.begun.put_nowait(self.count)
        await self.may_end.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    async def next(self) -> int:
        async with asyncio.timeout(5):
            return await self.begun.get()


@asynccontextmanager
async def running(store: PickledStore, ticks: Callable[[], Any]) -> AsyncIterator[ApschedulerTimer]:
    timer = ApschedulerTimer(store, ticks)
    timer.start()
    try:
        yield timer
    finally:
        await timer.stop()


async def rounds(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_past_instant_rings_at_once_and_once() -> None:
    store, ticks = PickledStore(), Ticks()
    async with running(store, ticks) as timer:
        timer.ring_at(PAST)
        assert await ticks.next() == 1
        await rounds()
    assert ticks.count == 1
    assert store.rows == {}


async def test_rings_at_the_instant_and_not_before() -> None:
    ticks = Ticks()
    async with running(PickledStore(), ticks) as timer:
        instant = datetime.now(UTC) + timedelta(seconds=0.1)
        timer.ring_at(instant)
        await ticks.next()
        assert datetime.now(UTC) >= instant


async def test_unchanged_instant_is_not_written_again() -> None:
    store = PickledStore()
    async with running(store, Ticks()) as timer:
        timer.ring_at(FAR)
        timer.ring_at(FAR.astimezone())
        assert store.writes == 1
        timer.ring_at(FAR + timedelta(seconds=1))
        assert store.writes == 2
        assert [instant for instant, _ in store.rows.values()] == [FAR + timedelta(seconds=1)]


async def test_none_removes_the_job_and_is_cheap_when_there_is_none() -> None:
    store = PickledStore()
    async with running(store, Ticks()) as timer:
        timer.ring_at(None)
        timer.ring_at(FAR)
        timer.ring_at(None)
        timer.ring_at(None)
        assert (store.rows, store.writes) == ({}, 2)


async def test_same_instant_rings_again_after_it_has_rung() -> None:
    ticks = Ticks()
    async with running(PickledStore(), ticks) as timer:
        for expected in (1, 2, 3):
            timer.ring_at(PAST)
            assert await ticks.next() == expected


async def test_job_left_by_a_dead_process_rings_on_the_next_start() -> None:
    store, ticks = PickledStore(), Ticks()
    async with running(store, Ticks()) as dead:
        dead.ring_at(PAST)
        dead._scheduler.pause()
    assert len(store.rows) == 1
    async with running(store, ticks):
        assert await ticks.next() == 1


async def test_job_left_for_later_is_replaced_and_not_doubled() -> None:
    store = PickledStore()
    async with running(store, Ticks()) as first:
        first.ring_at(FAR)
    async with running(store, Ticks()) as second:
        second.ring_at(FAR - timedelta(days=1))
        assert [instant for instant, _ in store.rows.values()] == [FAR - timedelta(days=1)]
        second.ring_at(None)
    assert store.rows == {}


async def test_rings_during_a_tick_give_one_more_tick_and_never_two_at_once() -> None:
    ticks = Ticks()
    ticks.may_end.clear()
    async with running(PickledStore(), ticks) as timer:
        timer.ring_at(PAST)
        await ticks.next()
        for second in range(5):
            timer.ring_at(PAST + timedelta(seconds=second))
            await rounds()
        assert ticks.count == 1
        ticks.may_end.set()
        assert await ticks.next() == 2
        await rounds()
    assert ticks.count == 2


async def test_failed_tick_does_not_stop_the_timer(caplog: pytest.LogCaptureFixture) -> None:
    ticks = Ticks()
    ticks.error = RuntimeError("broken")
    async with running(PickledStore(), ticks) as timer:
        timer.ring_at(PAST)
        await ticks.next()
        await rounds()
        timer.ring_at(PAST)
        assert await ticks.next() == 2


async def test_store_that_fails_half_way_is_asked_again() -> None:
    store, ticks = PickledStore(), Ticks()
    async with running(store, ticks) as timer:
        timer._scheduler.jobstore_retry_interval = 0.01
        store.failures = [OperationalError("SELECT", {}, Exception("server closed the connection"))]
        timer.ring_at(datetime.now(UTC) + timedelta(seconds=0.05))
        assert await ticks.next() == 1
    assert store.failures == []


async def test_failed_write_is_tried_again_with_the_same_instant() -> None:
    store = PickledStore()
    async with running(store, Ticks()) as timer:
        timer.ring_at(FAR)
        broken = pytest.MonkeyPatch()
        broken.setattr(store, "_write", _fail)
        with pytest.raises(DatabaseUnavailable, match="no connection"):
            timer.ring_at(PAST)
        broken.undo()
        timer.ring_at(FAR)
        assert store.writes == 2


def _fail(job: object) -> None:
    raise OperationalError("UPDATE", {}, Exception("no connection"))


async def test_stop_waits_for_the_running_tick_and_begins_no_other() -> None:
    ticks = Ticks()
    ticks.may_end.clear()
    timer = ApschedulerTimer(PickledStore(), ticks)
    timer.start()
    timer.ring_at(PAST)
    await ticks.next()
    timer.ring_at(PAST + timedelta(seconds=1))
    await rounds()
    stopping = asyncio.create_task(timer.stop())
    await rounds()
    assert not stopping.done()
    ticks.may_end.set()
    await stopping
    await timer.stop()
    assert ticks.count == 1
    assert timer_module._bells == {}


async def test_chore_runs_at_its_cron_times_and_its_failure_is_its_own() -> None:
    chore = Ticks()
    chore.error = RuntimeError("broken")
    async with running(PickledStore(), Ticks()) as timer:
        timer.add_chore("clean", "* * * * * *", chore)
        assert [await chore.next(), await chore.next()] == [1, 2]


async def test_chore_with_a_bad_expression_is_rejected() -> None:
    async with running(PickledStore(), Ticks()) as timer:
        with pytest.raises(InvalidCron, match="second: 60"):
            timer.add_chore("clean", "60 * * * * *", Ticks())


async def test_second_timer_of_one_name_is_refused_in_one_process() -> None:
    async with running(PickledStore(), Ticks()):
        with pytest.raises(RuntimeError, match="already running"):
            ApschedulerTimer(PickledStore(), Ticks()).start()


async def test_instant_without_a_zone_is_refused() -> None:
    async with running(PickledStore(), Ticks()) as timer:
        with pytest.raises(ValueError, match="without a time zone"):
            timer.ring_at(datetime(2026, 1, 1))  # noqa: DTZ001


async def test_stored_job_of_an_unknown_timer_is_ignored() -> None:
    await timer_module.ring_bell("of another release", PAST.isoformat())
