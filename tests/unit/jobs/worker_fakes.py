"""What the worker, its pools and its writer are tested against: a queue, leases, handlers and a waiter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from atf.jobs.handler import Job
from atf.jobs.job_type import JobLimits, JobTypeDefinition
from atf.jobs.lease import Holder, Lease
from atf.jobs.queue import Outcome, Outcomes, Wanted
from atf.jobs.run import ClaimedBatch, ClaimedRun, RunId, RunKey, WorkerId
from atf.jobs.run_metrics import RunMetrics
from atf.jobs.worker import Duty, Worker, WorkerLimits

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


def run_of(number: int, job_type: str = "report", *, attempt: int = 1, **snapshot: Any) -> ClaimedRun:
    key = RunKey("other", NOON, number)
    return ClaimedRun(key, RunId(UUID(int=number)), job_type, number, 1, attempt, 3, snapshot)


def definition(
    name: str = "report", *, seconds: float = 60, concurrency: int = 2, delay: float = 10
) -> JobTypeDefinition:
    limits = JobLimits(timedelta(seconds=seconds), 3, timedelta(seconds=delay), concurrency)
    return JobTypeDefinition(name, lambda *_: None, limits)


class FakeQueue:
    """Hands out what was given to it, claim by claim; an exception in the list is raised. Notes every call.

    ``refuses`` are the ids of runs that were taken away meanwhile; ``finish_raises`` are the next answers of
    ``finish``.
    """

    def __init__(self, *claims: Sequence[ClaimedRun] | Exception) -> None:
        self.claims = list(claims)
        self.wanted: list[list[Wanted]] = []
        self.finished: list[Outcome] = []
        self.transactions: list[int] = []
        self.handed_back: list[set[int]] = []
        self.refuses: set[int] = set()
        self.finish_raises: list[Exception] = []
        self.cancels: frozenset[int] = frozenset()
        self.changed = asyncio.Event()

    async def claim_runs(self, worker_id: WorkerId, wanted: Sequence[Wanted]) -> Sequence[ClaimedRun]:
        self.wanted.append(list(wanted))
        claimed = self.claims.pop(0) if self.claims else []
        if isinstance(claimed, Exception):
            raise claimed
        return claimed

    async def finish(self, worker_id: WorkerId, outcomes: Outcomes) -> frozenset[int]:
        if self.finish_raises:
            raise self.finish_raises.pop(0)
        ended: list[Outcome] = [
            *outcomes.completions,
            *outcomes.failures,
            *outcomes.put_back,
            *outcomes.cancelled,
        ]
        self.finished += ended
        self.transactions.append(len(ended))
        self.changed.set()
        return frozenset(one.run.key.id for one in ended) - self.refuses

    async def hand_back(self, worker_id: WorkerId, *, keep: Collection[int]) -> int:
        self.handed_back.append(set(keep))
        return 0

    async def cancel_requests(self, worker_id: WorkerId) -> frozenset[int]:
        return self.cancels

    def outcome(self, number: int) -> Outcome:
        """The one outcome of a run."""
        (outcome,) = [one for one in self.finished if one.run.key.id == number]
        return outcome

    async def until_finished(self, count: int) -> None:
        """Wait until so many outcomes are written."""
        async with asyncio.timeout(10):
            while len(self.finished) < count:
                await self.changed.wait()
                self.changed.clear()


class FakeLeases:
    def __init__(self) -> None:
        self.registered: list[WorkerId] = []
        self.removed: list[WorkerId] = []
        self.renews = True

    async def register(self, holder: Holder, lease: timedelta) -> None:
        self.registered.append(holder.worker_id)

    async def renew(self, worker_id: WorkerId, lease: timedelta) -> bool:
        return self.renews

    async def remove(self, worker_id: WorkerId) -> None:
        self.removed.append(worker_id)


class FakeWaiter:
    """Tells when the worker is idle; woken like the real one."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        self.woken = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        self.idle.set()
        try:
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        except TimeoutError:
            return False
        self.woken.clear()
        return True

    def wake(self) -> None:
        self.woken.set()


class FakeHandler:
    """Does to each job what it was told; notes those that began, and how many were at work at once."""

    def __init__(self, does: Callable[[Job], Awaitable[Mapping[str, Any]]] | None = None) -> None:
        self.job_type = "report"
        self.jobs: list[Job] = []
        self.began = asyncio.Event()
        self.present = self.most = 0
        self._does = does

    async def handle(self, job: Job) -> Mapping[str, Any]:
        self.jobs.append(job)
        self.began.set()
        self.present += 1
        self.most = max(self.most, self.present)
        try:
            return {"job": job.job_id} if self._does is None else await self._does(job)
        finally:
            self.present -= 1


class FakeBatchHandler:
    """Notes its batches and does to each what it was told."""

    def __init__(self, does: Callable[[ClaimedBatch], Awaitable[None]] | None = None) -> None:
        self.job_type = "alert"
        self.batches: list[list[int]] = []
        self._does = does

    async def handle(self, batch: ClaimedBatch) -> None:
        self.batches.append([run.key.id for run in batch.runs])
        if self._does is not None:
            await self._does(batch)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the fakes have no events for it
            await asyncio.sleep(0.005)


def raising(error: Exception) -> Callable[[object], Awaitable[Any]]:
    async def does(_: object) -> Any:
        raise error

    return does


async def hanging(_: object) -> Any:
    await asyncio.Event().wait()


class Workshop:
    """A running worker with everything around it."""

    def __init__(self, queue: FakeQueue, duties: Sequence[Duty], lease: Lease, limits: WorkerLimits) -> None:
        self.queue = queue
        self.waiter = FakeWaiter()
        self.metrics = RunMetrics()
        self.worker = Worker(
            queue, lease, duties, self.waiter, limits=limits, metrics=self.metrics, jitter=lambda: 1.0
        )


@asynccontextmanager
async def working(
    queue: FakeQueue, *duties: Duty, leases: FakeLeases | None = None, lease_seconds: float = 3600, **limits: Any
) -> AsyncIterator[Workshop]:
    """A running worker, from when it has claimed what there is; it is cancelled and waited for at the end."""
    lease = Lease(leases or FakeLeases(), name="w", types=["x"], length=timedelta(seconds=lease_seconds))
    shop = Workshop(queue, duties, lease, WorkerLimits(batch_size=7, poll=timedelta(seconds=3), **limits))
    task = asyncio.create_task(shop.worker.run())
    try:
        async with asyncio.timeout(5):
            await shop.waiter.idle.wait()
        yield shop
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
