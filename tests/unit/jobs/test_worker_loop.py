import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from atf.errors import DatabaseUnavailable, TemporaryFailure
from atf.jobs.lease import Lease
from atf.jobs.run import ClaimedBatch, ClaimedRun, Failure, JobType, RunId, RunKey, WorkerId
from atf.jobs.worker import Worker, WorkerLimits

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


def run_of(run_id: int, job_type: JobType = JobType.ALERT) -> ClaimedRun:
    key = RunKey("alert", NOON, run_id)
    return ClaimedRun(key, RunId(UUID(int=run_id)), job_type, 1, 1, 1, 10, {})


class FakeQueue:
    """Hands out what it was given, claim by claim; an exception in the list is raised. Notes every call."""

    def __init__(self, *claims: Sequence[ClaimedRun] | Exception) -> None:
        self.claims = list(claims)
        self.calls: list[tuple[object, ...]] = []
        self.failures: list[Failure] = []
        self.fail_raises: Exception | None = None

    async def claim_runs(self, worker_id: WorkerId, types: Sequence[JobType], limit: int) -> Sequence[ClaimedRun]:
        self.calls.append(("claim", tuple(types), limit))
        claimed = self.claims.pop(0) if self.claims else []
        if isinstance(claimed, Exception):
            raise claimed
        return claimed

    async def put_back(self, worker_id: WorkerId, runs: Sequence[ClaimedRun], delay: timedelta) -> None:
        raise AssertionError("nothing here needs this")

    async def fail(self, worker_id: WorkerId, failures: Sequence[Failure], delay: timedelta) -> None:
        self.calls.append(("fail", len(failures)))
        if self.fail_raises is not None:
            raise self.fail_raises
        self.failures += failures

    async def release_held(self, worker_id: WorkerId) -> int:
        self.calls.append(("release_held",))
        return 0

    @property
    def names(self) -> list[object]:
        return [call[0] for call in self.calls]


class FakeLeases:
    def __init__(self) -> None:
        self.removed: list[WorkerId] = []

    async def register(
        self, worker_id: WorkerId, host: str, pid: int, types: Sequence[str], lease: timedelta
    ) -> None: ...

    async def renew(self, worker_id: WorkerId, lease: timedelta) -> bool:
        return True

    async def remove(self, worker_id: WorkerId) -> None:
        self.removed.append(worker_id)


class FakeHandler:
    """Notes its batches and does to each what it was told."""

    def __init__(
        self, job_type: JobType = JobType.ALERT, does: Callable[[ClaimedBatch], Awaitable[None]] | None = None
    ) -> None:
        self.job_type = job_type
        self.batches: list[list[int]] = []
        self._does = does

    async def handle(self, batch: ClaimedBatch) -> None:
        assert batch.job_type is self.job_type
        self.batches.append([run.key.id for run in batch.runs])
        if self._does is not None:
            await self._does(batch)


class FakeWaiter:
    """Tells that the worker is idle, and lets it sleep until it is cancelled."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        self.seconds: list[float] = []

    async def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        self.idle.set()
        return await asyncio.Event().wait()


def raising(error: Exception, times: int = 1) -> Callable[[ClaimedBatch], Awaitable[None]]:
    left = [error] * times

    async def does(batch: ClaimedBatch) -> None:
        if left:
            raise left.pop()

    return does


@asynccontextmanager
async def working(
    queue: FakeQueue, *handlers: FakeHandler, leases: FakeLeases | None = None, **limits: Any
) -> AsyncIterator[FakeWaiter]:
    """A running worker, from when it is first idle; it is cancelled and waited for at the end."""
    waiter = FakeWaiter()
    lease = Lease(leases or FakeLeases(), name="w", types=["alert"], length=timedelta(hours=1))
    all_limits = WorkerLimits(batch_size=7, poll=timedelta(seconds=3), **limits)
    worker = Worker(queue, lease, handlers, waiter, limits=all_limits, jitter=lambda: 0.0)
    task = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(5):
            await waiter.idle.wait()
        yield waiter
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_claims_what_its_handlers_do_and_hands_it_to_them_by_type() -> None:
    alerts, backups = FakeHandler(JobType.ALERT), FakeHandler(JobType.BACKUP)
    queue = FakeQueue([run_of(1), run_of(2, JobType.BACKUP), run_of(3)], [run_of(4)])
    async with working(queue, alerts, backups):
        assert queue.calls == [("claim", (JobType.ALERT, JobType.BACKUP), 7)] * 3
        assert (alerts.batches, backups.batches) == ([[1, 3], [4]], [[2]])


async def test_waits_only_when_nothing_was_claimed() -> None:
    async with working(FakeQueue([run_of(1)], [run_of(2)]), FakeHandler()) as waiter:
        assert waiter.seconds == [3.0]


async def test_batch_whose_handler_raises_fails_and_work_goes_on() -> None:
    mistake = ZeroDivisionError("a mistake")
    handler = FakeHandler(does=raising(mistake))
    queue = FakeQueue([run_of(1), run_of(2)], [run_of(3)])
    async with working(queue, handler):
        assert [(failure.run.key.id, failure.error, failure.is_permanent) for failure in queue.failures] == [
            (1, mistake, False),
            (2, mistake, False),
        ]
        assert handler.batches == [[1, 2], [3]]
        assert "release_held" not in queue.names


async def test_one_type_that_raises_does_not_keep_the_others_from_their_work() -> None:
    broken, backups = FakeHandler(JobType.ALERT, raising(KeyError("x"))), FakeHandler(JobType.BACKUP)
    queue = FakeQueue([run_of(1), run_of(2, JobType.BACKUP)])
    async with working(queue, broken, backups):
        assert backups.batches == [[2]]
        assert [failure.run.key.id for failure in queue.failures] == [1]


THREE_TYPES = (JobType.ALERT, JobType.BACKUP, JobType.REPORT)
ONE_OF_EACH = [run_of(number, kind) for number, kind in enumerate(THREE_TYPES, start=1)]


@pytest.mark.parametrize("max_workers", [1, 3])
async def test_no_more_handlers_run_at_once_than_max_workers(max_workers: int) -> None:
    present = most = 0

    async def attend(batch: ClaimedBatch) -> None:
        nonlocal present, most
        present += 1
        most = max(most, present)
        for _ in range(10):
            await asyncio.sleep(0)
        present -= 1

    handlers = [FakeHandler(kind, attend) for kind in THREE_TYPES]
    async with working(FakeQueue(ONE_OF_EACH), *handlers, max_workers=max_workers):
        assert most == max_workers
        assert [len(handler.batches) for handler in handlers] == [1, 1, 1]


async def test_type_that_must_be_tried_again_does_not_interrupt_the_others() -> None:
    ended = list[int]()

    async def slow(batch: ClaimedBatch) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        ended.append(len(batch.runs))

    later = FakeHandler(JobType.ALERT, raising(TemporaryFailure("later")))
    queue = FakeQueue([run_of(1), run_of(2, JobType.BACKUP)])
    async with working(queue, later, FakeHandler(JobType.BACKUP, slow)):
        assert ended == [1]
        assert queue.names[:2] == ["claim", "release_held"]


async def test_batch_that_takes_too_long_is_cancelled_and_fails_to_be_tried_again() -> None:
    cancelled = list[bool]()

    async def hangs(batch: ClaimedBatch) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    queue = FakeQueue([run_of(1), run_of(2, JobType.BACKUP)])
    alerts, backups = FakeHandler(JobType.ALERT, hangs), FakeHandler(JobType.BACKUP)
    timeouts = {JobType.ALERT: timedelta(milliseconds=20)}
    async with working(queue, alerts, backups, timeouts=timeouts):
        assert cancelled == [True]
        assert backups.batches == [[2]]
        [failure] = queue.failures
        assert (failure.run.key.id, failure.is_permanent) == (1, False)
        assert isinstance(failure.error, TimeoutError)
        assert str(failure.error) == "took longer than 0.02 s"


async def test_timeout_of_the_handler_s_own_stays_what_it_is() -> None:
    own = TimeoutError("a provider's")
    queue = FakeQueue([run_of(1)])
    timeouts = {JobType.ALERT: timedelta(hours=1)}
    async with working(queue, FakeHandler(does=raising(own)), timeouts=timeouts):
        assert [failure.error for failure in queue.failures] == [own]


async def test_temporary_failure_gives_everything_back_before_the_next_claim() -> None:
    handler = FakeHandler(does=raising(TemporaryFailure("later")))
    queue = FakeQueue([run_of(1)], [run_of(1)])
    async with working(queue, handler):
        assert queue.names == ["claim", "release_held", "claim", "claim"]
        assert (handler.batches, queue.failures) == ([[1], [1]], [])


async def test_claim_whose_answer_was_lost_is_given_back() -> None:
    queue = FakeQueue(DatabaseUnavailable("gone"), [run_of(1)])
    async with working(queue, FakeHandler()):
        assert queue.names == ["claim", "release_held", "claim", "claim"]


async def test_stop_hands_back_and_forgets_the_lease() -> None:
    queue, leases = FakeQueue(), FakeLeases()
    async with working(queue, FakeHandler(), leases=leases):
        assert "release_held" not in queue.names
    assert queue.names[-1] == "release_held"
    assert len(leases.removed) == 1


async def test_stop_in_the_middle_of_a_batch_cancels_it_and_then_hands_back() -> None:
    began, order = asyncio.Event(), list[str]()

    async def hangs(batch: ClaimedBatch) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            order.append("handler ended")

    class Noting(FakeQueue):
        async def release_held(self, worker_id: WorkerId) -> int:
            order.append("handed back")
            return 1

    lease = Lease(FakeLeases(), name="w", types=["alert"], length=timedelta(hours=1))
    worker = Worker(Noting([run_of(1)]), lease, [FakeHandler(does=hangs)], FakeWaiter())
    task = asyncio.create_task(worker.run())
    async with asyncio.timeout(5):
        await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert order == ["handler ended", "handed back"]


async def test_each_failed_round_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    queue = FakeQueue(DatabaseUnavailable("gone"), OSError("no route"), [run_of(1)])
    async with working(queue, FakeHandler(does=raising(TemporaryFailure("later")))):
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


async def test_mistake_of_a_handler_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with working(FakeQueue([run_of(1)]), FakeHandler(does=raising(KeyError("x")))):
        assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_failures_that_cannot_be_recorded_are_given_back() -> None:
    queue = FakeQueue([run_of(1)])
    queue.fail_raises = DatabaseUnavailable("gone")
    async with working(queue, FakeHandler(does=raising(KeyError("x")))):
        assert queue.names == ["claim", "fail", "release_held", "claim"]
