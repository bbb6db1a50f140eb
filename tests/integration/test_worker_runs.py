"""A real worker on a real queue: what its handlers return, raise and refuse becomes what is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atf.adapters.processes.executor import ProcessExecutor
from atf.errors import PermanentFailure
from atf.jobs.handler import Job
from atf.jobs.heavy_runner import HeavyRunner
from atf.jobs.job_type import JobLimits, JobTypeDefinition
from atf.jobs.lease import Lease
from atf.jobs.worker import Duty, Worker, WorkerLimits
from atf.storage.database import Database
from atf.storage.listener import Listener
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.workers_repository import PostgresLeases
from atf.testing.processes import is_alive

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows

Does = Callable[[Job], Awaitable[Mapping[str, Any]]]


class Handler:
    """Does what a test says."""

    def __init__(self, does: Does, job_type: str = "report") -> None:
        self.job_type = job_type
        self.handle = does


class Heavy:
    """Computes in a child process what the run's parameters name."""

    job_type = "screener"

    def __init__(self, function: str) -> None:
        self.compute = f"tests.integration.computations:{function}"

    async def prepare(self, job: Job) -> Mapping[str, Any]:
        return job.task_params


def duty(handler: Any, *, seconds: float = 60, concurrency: int = 4) -> Duty:
    limits = JobLimits(timedelta(seconds=seconds), 3, timedelta(seconds=30), concurrency)
    return Duty(JobTypeDefinition(handler.job_type, lambda *_: None, limits), handler)


@asynccontextmanager
async def working(database: Database, *duties: Duty, drain: float = 0.1) -> AsyncIterator[None]:
    """A worker as its process has it."""
    queue, listener = PostgresRunQueue(database), Listener(database.direct_url, ["atf_runs"])
    await listener.start()
    types = [one.definition.name for one in duties]
    lease = Lease(PostgresLeases(database), name="w", types=types, length=timedelta(seconds=15))
    limits = WorkerLimits(drain=timedelta(seconds=drain))
    task = asyncio.create_task(Worker(queue, lease, duties, listener, limits=limits).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await listener.stop()
        await queue.close()


@pytest.fixture
async def executor() -> AsyncIterator[ProcessExecutor]:
    executor = ProcessExecutor(2)
    yield executor
    await asyncio.to_thread(executor.shutdown, cancel_futures=True)


async def report_runs(rows: Rows, count: int = 1) -> None:
    await rows.pending_runs(count, job_type="report", retention_class="other")


async def heavy_runs(rows: Rows, params: str, *, first_job_id: int = 50) -> None:
    await rows.pending_runs(1, job_type="screener", retention_class="other", first_job_id=first_job_id)
    snapshot = f'{{"task_params": {params}}}'
    await rows.change(
        "UPDATE job_schedule_runs SET job_snapshot = CAST(:snapshot AS jsonb) WHERE job_id = :id",
        snapshot=snapshot,
        id=first_job_id,
    )


async def status_of(rows: Rows, job_id: int) -> str:
    return str(await rows.value("SELECT status FROM job_schedule_runs WHERE job_id = :id", id=job_id))


async def test_result_and_duration_of_a_run_are_stored(
    database: Database, rows: Rows, eventually: Eventually
) -> None:
    async def work(job: Job) -> Mapping[str, Any]:
        return {"of": job.job_id}

    await report_runs(rows, 3)
    async with working(database, duty(Handler(work))):
        await eventually(lambda: all_are(rows, "COMPLETED", 3))
    stored = await rows.all("SELECT * FROM job_schedule_runs ORDER BY job_id")
    assert [run.result for run in stored] == [{"of": 1}, {"of": 2}, {"of": 3}]
    assert all(run.started_at <= run.finished_at and run.worker_id.startswith("w-") for run in stored)


async def test_temporary_error_waits_for_its_pause_and_a_permanent_one_ends(
    database: Database, rows: Rows, eventually: Eventually
) -> None:
    async def work(job: Job) -> Mapping[str, Any]:
        raise PermanentFailure("never") if job.job_id == 1 else ValueError("not now")

    await report_runs(rows, 2)
    async with working(database, duty(Handler(work))):
        await eventually(lambda: all_are(rows, "FAILED", 1))
        await eventually(lambda: all_are(rows, "PENDING", 1))
    waiting = (await rows.all("SELECT *, available_at - now() AS rest FROM job_schedule_runs WHERE job_id = 2"))[
        0
    ]
    assert (waiting.attempt, waiting.sort_key, waiting.error) == (2, None, "ValueError: not now")
    assert timedelta(0) < waiting.rest <= timedelta(seconds=30)
    assert "not now" in waiting.error_details["traceback"]
    assert await rows.column("SELECT reason FROM job_dead_letters") == ["permanent"]


async def test_cancelling_a_running_run_stops_it(database: Database, rows: Rows, eventually: Eventually) -> None:
    stopped = asyncio.Event()

    async def work(job: Job) -> Mapping[str, Any]:
        try:
            return await asyncio.Event().wait()  # type: ignore[return-value]
        finally:
            stopped.set()

    await report_runs(rows)
    async with working(database, duty(Handler(work))):
        await eventually(lambda: all_are(rows, "RUNNING", 1))
        await rows.change("UPDATE job_schedule_runs SET cancel_requested = true")
        await eventually(lambda: all_are(rows, "CANCELLED", 1))
        assert stopped.is_set()


async def test_heavy_run_computes_in_another_process(
    database: Database, rows: Rows, eventually: Eventually, executor: ProcessExecutor
) -> None:
    await heavy_runs(rows, '{"number": 21}')
    async with working(database, duty(HeavyRunner(Heavy("echo"), executor))):
        await eventually(lambda: all_are(rows, "COMPLETED", 1))
    assert await rows.value("SELECT result FROM job_schedule_runs") == {"number": 21}


@pytest.mark.parametrize(
    ("function", "seconds", "error"), [("spin", 1, "RunTimedOut"), ("allocate", 60, "MemoryError")]
)
async def test_heavy_run_that_takes_too_much_hurts_only_itself(
    database: Database,
    rows: Rows,
    eventually: Eventually,
    executor: ProcessExecutor,
    function: str,
    seconds: float,
    error: str,
    tmp_path: Path,
) -> None:
    async def work(job: Job) -> Mapping[str, Any]:
        return {}

    await heavy_runs(rows, json.dumps({"pids": str(tmp_path / "pids")}))
    await report_runs(rows, 20)
    greedy = duty(HeavyRunner(Heavy(function), executor), seconds=seconds)
    async with working(database, greedy, duty(Handler(work))):
        await eventually(lambda: all_are(rows, "COMPLETED", 20))
        await eventually(lambda: all_are(rows, "PENDING", 1))
    run = (await rows.all("SELECT * FROM job_schedule_runs WHERE job_id = 50"))[0]
    assert run.attempt == 2
    assert run.error.startswith(error)


async def test_cancelling_a_heavy_run_kills_its_process(
    database: Database, rows: Rows, eventually: Eventually, executor: ProcessExecutor, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    await heavy_runs(rows, json.dumps({"pids": str(pids)}))

    async def has_begun() -> bool:
        return pids.exists() and bool(pids.read_text())

    async def is_gone() -> bool:
        return not is_alive(int(pids.read_text()))

    async with working(database, duty(HeavyRunner(Heavy("spin"), executor))):
        await eventually(has_begun)
        await rows.change("UPDATE job_schedule_runs SET cancel_requested = true")
        await eventually(lambda: all_are(rows, "CANCELLED", 1))
        await eventually(is_gone)
    assert await rows.statuses() == {"CANCELLED": 1}


async def test_end_of_a_worker_hands_back_what_does_not_end_in_time(
    database: Database, rows: Rows, eventually: Eventually
) -> None:
    async def work(job: Job) -> Mapping[str, Any]:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    await report_runs(rows, 2)
    async with working(database, duty(Handler(work), concurrency=1)):
        await eventually(lambda: all_are(rows, "RUNNING", 1))
    stored = await rows.all("SELECT status, attempt, max_attempts FROM job_schedule_runs ORDER BY attempt")
    assert [tuple(run) for run in stored] == [("PENDING", 1, 3), ("PENDING", 2, 4)]
    assert await rows.column("SELECT worker_id FROM workers") == []


async def all_are(rows: Rows, status: str, count: int) -> bool:
    """Whether so many runs have this status."""
    return (await rows.statuses()).get(status, 0) == count
