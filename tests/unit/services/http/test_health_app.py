from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from atf.errors import DatabaseUnavailable
from atf.health.service_health import ServiceHealth, Watched
from atf.health.statistics import DatabaseProbe, QueueOfType, Statistics, Trouble
from atf.jobs.run_metrics import RunMetrics
from atf.lifecycle import Progress
from atf.services.http.health_app import build_health_app

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
NUMBERS = Statistics(
    total_schedules=25,
    enabled_schedules=20,
    queue={"alert": QueueOfType(1, 1, 5, 2.5, 8), "report": QueueOfType(waiting=1)},
    completed_24h=199,
    failed_24h=1,
    avg_duration=2.3,
    max_duration=45.2,
    common_errors=[("Timeout", 2), ("DataUnavailable", 1)],
    trouble=Trouble(misfires=3, missed_runs=40, dead_letters=6, lost_workers=1, rescued_runs=9),
    avg_wait=0.25,
    workers=2,
)
NO_DATABASE = DatabaseUnavailable("the database does not answer: refused")


class FakeClock:
    def now(self) -> datetime:
        return NOON


class Process:
    """A process whose state, database and loop a test decides."""

    def __init__(self) -> None:
        self.word = "running"
        self.is_started = True
        self.probe_answer: DatabaseProbe | Exception = DatabaseProbe(True, True)
        self.numbers: Statistics | Exception = NUMBERS
        self.counted = 0
        self.now = 0.0
        self.progress = Progress(lambda: self.now)

    async def probe(self) -> DatabaseProbe:
        if isinstance(self.probe_answer, Exception):
            raise self.probe_answer
        return self.probe_answer

    async def statistics(self) -> Statistics:
        self.counted += 1
        if isinstance(self.numbers, Exception):
            raise self.numbers
        return self.numbers

    def health(self, *, counts: bool, runs: RunMetrics | None = None) -> ServiceHealth:
        watched = Watched(
            service="scheduler" if counts else "worker",
            instance_id="one",
            version="9.9",
            word=lambda: self.word,
            is_started=lambda: self.is_started,
            progress=self.progress,
            stalled_after_seconds=60,
        )
        return ServiceHealth(watched, self, FakeClock(), counts=counts, runs=runs)


@pytest.fixture
def process() -> Process:
    return Process()


def client_of(health: ServiceHealth) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(build_health_app(health))
    return httpx.AsyncClient(transport=transport, base_url="http://health")


@pytest.fixture
async def scheduler(process: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(process.health(counts=True)) as client:
        yield client


@pytest.fixture
async def worker(process: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(process.health(counts=False)) as client:
        yield client


async def test_health_has_the_missions_shape(scheduler: httpx.AsyncClient) -> None:
    answer = await scheduler.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "healthy",
        "timestamp": "2027-03-01T12:00:00.000Z",
        "components": {
            "scheduler": "running",
            "database": "connected",
            "job_store": "operational",
            "alert_evaluator": "ready",
        },
        "metrics": {
            "active_jobs": 20,
            "pending_runs": 3,
            "failed_jobs_24h": 1,
            "avg_execution_time": 2.3,
            "progress_age_seconds": 0.0,
        },
        "service": "scheduler",
        "instance_id": "one",
        "version": "9.9",
    }


async def test_stats_have_the_missions_shape(scheduler: httpx.AsyncClient) -> None:
    answer = await scheduler.get("/stats")
    assert answer.status_code == 200
    assert answer.json() == {
        "job_counts": {"total_schedules": 25, "enabled_schedules": 20, "active_jobs": 20},
        "execution_stats": {
            "runs_24h": 200,
            "success_rate": 0.995,
            "avg_duration": 2.3,
            "max_duration": 45.2,
            "avg_wait": 0.25,
            "is_estimated": False,
        },
        "error_stats": {
            "failed_runs_24h": 1,
            "common_errors": ["Timeout: 2", "DataUnavailable: 1"],
            "dead_letters": 6,
            "misfires_24h": 3,
            "missed_runs_24h": 40,
            "lost_workers_24h": 1,
            "rescued_runs_24h": 9,
        },
        "queue": {
            "alert": {"waiting": 1, "delayed": 1, "running": 5, "slots": 8, "oldest_seconds": 2.5},
            "report": {"waiting": 1, "delayed": 0, "running": 0, "slots": 0, "oldest_seconds": 0.0},
        },
        "workers": 2,
    }


@pytest.mark.parametrize(
    ("word", "probe", "status", "code"),
    [
        ("standby", DatabaseProbe(True, True), "healthy", 200),
        ("starting", DatabaseProbe(True, True), "degraded", 200),
        ("running", DatabaseProbe(False, True), "degraded", 200),
        ("running", DatabaseProbe(True, False), "unhealthy", 503),
        ("stopped", DatabaseProbe(True, True), "unhealthy", 503),
        ("dreaming", DatabaseProbe(True, True), "degraded", 200),
    ],
)
async def test_status_follows_from_the_components(
    scheduler: httpx.AsyncClient, process: Process, word: str, probe: DatabaseProbe, status: str, code: int
) -> None:
    process.word, process.probe_answer = word, probe
    answer = await scheduler.get("/health")
    assert (answer.json()["status"], answer.status_code) == (status, code)
    assert answer.json()["components"] == {
        "scheduler": word,
        "database": "connected",
        "job_store": "operational" if probe.is_job_store_readable else "unavailable",
        "alert_evaluator": "ready" if probe.has_alert_worker else "no worker",
    }


async def test_without_the_database_health_is_unhealthy_numbers_are_unknown_and_stats_are_a_problem(
    scheduler: httpx.AsyncClient, process: Process
) -> None:
    process.probe_answer = process.numbers = NO_DATABASE
    health = await scheduler.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
    assert health.json()["components"]["database"] == "disconnected"
    assert health.json()["metrics"]["pending_runs"] is None
    assert health.json()["detail"] == str(NO_DATABASE)
    stats = await scheduler.get("/stats")
    assert (stats.status_code, stats.headers["content-type"]) == (503, "application/problem+json")
    assert stats.json()["detail"] == str(NO_DATABASE)
    metrics = (await scheduler.get("/metrics")).text
    assert 'atf_database_up{service="scheduler"} 0.0' in metrics
    assert "atf_pending_runs" not in metrics


async def test_a_database_that_never_answers_is_disconnected_within_two_seconds(process: Process) -> None:
    class Silent(Process):
        async def probe(self) -> DatabaseProbe:
            await asyncio.Event().wait()
            raise AssertionError

    health = Silent().health(counts=True)
    async with asyncio.timeout(2), client_of(health) as client:
        answer = await client.get("/health")
    assert answer.json()["components"]["database"] == "disconnected"
    await health.close()


async def test_counts_that_take_too_long_are_unknown_and_the_database_is_still_connected(
    scheduler: httpx.AsyncClient, process: Process
) -> None:
    process.numbers = DatabaseUnavailable("a statement took too long")
    answer = await scheduler.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    assert answer.json()["metrics"]["active_jobs"] is None
    assert answer.json()["detail"] == "a statement took too long"


async def test_a_scraper_does_not_load_the_database(scheduler: httpx.AsyncClient, process: Process) -> None:
    for _ in range(20):
        await asyncio.gather(*(scheduler.get(path) for path in ("/health", "/stats", "/metrics")))
    assert process.counted == 1


async def test_a_loop_that_does_not_come_round_is_stalled(scheduler: httpx.AsyncClient, process: Process) -> None:
    process.now = 61
    answer = await scheduler.get("/health")
    assert (answer.status_code, answer.json()["components"]["scheduler"]) == (503, "stalled")
    assert (await scheduler.get("/readyz")).status_code == 503
    assert (await scheduler.get("/livez")).status_code == 200
    process.progress.mark()
    assert (await scheduler.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("is_started", "probe", "code"),
    [(True, DatabaseProbe(False, False), 200), (False, DatabaseProbe(True, True), 503), (True, NO_DATABASE, 503)],
)
async def test_ready_is_who_has_started_and_reaches_the_database(
    worker: httpx.AsyncClient, process: Process, is_started: bool, probe: Any, code: int
) -> None:
    process.is_started, process.probe_answer = is_started, probe
    assert (await worker.get("/readyz")).status_code == code
    assert (await worker.get("/livez")).status_code == 200


async def test_a_worker_tells_of_itself_alone(worker: httpx.AsyncClient, process: Process) -> None:
    answer = await worker.get("/health")
    assert answer.json()["components"] == {"worker": "running", "database": "connected"}
    assert set(answer.json()["metrics"]) == {"progress_age_seconds"}
    assert (await worker.get("/stats")).status_code == 404
    assert process.counted == 0


async def test_metrics_are_prometheus_text(scheduler: httpx.AsyncClient, process: Process) -> None:
    process.now = 1.5
    answer = await scheduler.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    for line in (
        'atf_build_info{service="scheduler",version="9.9"} 1.0',
        'atf_up{service="scheduler"} 1.0',
        'atf_progress_age_seconds{service="scheduler"} 1.5',
        'atf_pending_runs{type="alert"} 2.0',
        'atf_pending_runs{type="backup"} 0.0',
        "atf_failed_runs_24h 1.0",
    ):
        assert line in lines
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)


async def test_a_heartbeat_says_the_same(process: Process) -> None:
    watched = process.health(counts=True)._watched
    process.word = "starting"
    assert watched.check()["status"] == "DEGRADED"
    process.word = "standby"
    assert watched.check()["status"] == "HEALTHY"
    process.now = 61
    stalled = watched.check()
    assert (stalled["status"], stalled["error_message"]) == ("DOWN", "no progress for 61 s; the limit is 60 s")
    process.word = "starting"  # a long start-up delay is no standstill
    assert watched.check()["status"] == "DEGRADED"


async def test_metrics_of_the_queue_name_every_type(scheduler: httpx.AsyncClient) -> None:
    told = (await scheduler.get("/metrics")).text.splitlines()
    for line in (
        'atf_pending_runs{type="alert"} 2.0',
        'atf_delayed_runs{type="alert"} 1.0',
        'atf_running_runs{type="alert"} 5.0',
        'atf_oldest_pending_seconds{type="alert"} 2.5',
        'atf_pending_runs{type="backup"} 0.0',
        "atf_misfires_24h 3.0",
        "atf_missed_runs_24h 40.0",
        "atf_dead_letters 6.0",
        "atf_lost_workers_24h 1.0",
        "atf_rescued_runs_24h 9.0",
        "atf_wait_seconds_24h 0.25",
        'atf_slots{type="alert"} 8.0',
        "atf_workers 2.0",
    ):
        assert line in told


async def test_metrics_of_a_worker_tell_what_it_has_done(process: Process) -> None:
    runs = RunMetrics()
    figures = runs.of("report", slots=4)
    figures.claimed, figures.busy = 3, 1
    figures.outcomes["completed"] = 2
    figures.waiting.observe(0.004)
    figures.running.observe(0.3)
    figures.running.observe(7000)
    async with client_of(process.health(counts=False, runs=runs)) as client:
        told = (await client.get("/metrics")).text.splitlines()
    for line in (
        'atf_runs_claimed_total{type="report"} 3.0',
        'atf_runs_ended_total{outcome="completed",type="report"} 2.0',
        'atf_worker_slots{type="report"} 4.0',
        'atf_worker_busy_slots{type="report"} 1.0',
        'atf_run_wait_seconds_bucket{le="0.0025",type="report"} 0.0',
        'atf_run_wait_seconds_bucket{le="0.005",type="report"} 1.0',
        'atf_run_seconds_bucket{le="0.5",type="report"} 1.0',
        'atf_run_seconds_bucket{le="+Inf",type="report"} 2.0',
        'atf_run_seconds_sum{type="report"} 7000.3',
    ):
        assert line in told, line


async def test_no_endpoint_takes_a_body(scheduler: httpx.AsyncClient) -> None:
    for path in ("/livez", "/readyz", "/health", "/metrics", "/stats"):
        answer = await scheduler.request("GET", path, content=b"x")
        assert (answer.status_code, answer.text) == (413, "no request with a body is taken here\n")
