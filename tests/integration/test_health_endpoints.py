"""The services as a monitor sees them: real processes, real ports, a database that goes and comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest

from atf.storage import migrate
from atf.storage.database import plain_url
from atf.storage.embedded import ClusterHandle, EmbeddedCluster
from atf.testing.processes import Installation, kill
from atf.testing.waiting import wait_for

SERVICES = ("notifications", "worker", "scheduler")


class Monitored(Installation):
    """An installation whose endpoints are found as others find them: through the registry."""

    def status(self) -> dict[str, Any]:
        finished = self.run("status", "--json")
        assert finished.returncode in (0, 1), finished
        found: dict[str, Any] = json.loads(finished.stdout)
        return found

    def start_all(self) -> dict[str, dict[str, str]]:
        for service in SERVICES:
            self.start(service, "start")
        return self.endpoints(len(SERVICES))

    def registered(self) -> list[tuple[str, str, dict[str, str]]]:
        """Every registered instance: its id, service and endpoints."""
        with psycopg.connect(plain_url(self.environment["ATF_DATABASE_URL"])) as connection:
            return connection.execute("SELECT instance_id, service, endpoints FROM service_registry").fetchall()

    def endpoints(self, count: int) -> dict[str, dict[str, str]]:
        wait_for(lambda: len(self.registered()) == count, what=f"for {count} services")
        return {service: endpoints for _, service, endpoints in self.registered()}


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=5, trust_env=False)


def has_health(url: str, status: str, **components: str) -> bool:
    found = get(url).json()
    return bool(found["status"] == status and components.items() <= found["components"].items())


def is_ready(endpoints: dict[str, str]) -> bool:
    return get(endpoints["readyz"]).status_code == 200


@pytest.fixture
def installation(database_url: str) -> Iterator[Monitored]:
    with Monitored({"ATF_DATABASE_URL": database_url}) as made:
        yield made


def test_every_service_answers_in_the_missions_shape(installation: Monitored) -> None:
    assert installation.run("status").returncode == 1  # nothing runs yet
    endpoints = installation.start_all()
    health = endpoints["scheduler"]["health"]
    wait_for(lambda: has_health(health, "healthy", scheduler="running", alert_evaluator="ready"))
    found = get(health).json()
    assert found["components"] == {
        "scheduler": "running",
        "database": "connected",
        "job_store": "operational",
        "alert_evaluator": "ready",
    }
    assert {"active_jobs", "pending_runs", "failed_jobs_24h", "avg_execution_time"} <= set(found["metrics"])
    assert datetime.fromisoformat(found["timestamp"]).tzinfo is not None
    stats = get(endpoints["scheduler"]["stats"]).json()
    assert set(stats) >= {"job_counts", "execution_stats", "error_stats"}
    assert set(stats["job_counts"]) == {"total_schedules", "enabled_schedules", "active_jobs"}
    assert {"runs_24h", "success_rate", "avg_duration", "max_duration"} <= set(stats["execution_stats"])
    assert set(stats["error_stats"]) >= {"failed_runs_24h", "common_errors"}
    for service in SERVICES:
        wait_for(partial(is_ready, endpoints[service]))
        assert get(endpoints[service]["livez"]).status_code == 200
        assert f'atf_up{{service="{service}"}} 1.0' in get(endpoints[service]["metrics"]).text
        assert get(endpoints[service]["health"]).json()["components"][service] == "running"
    wait_for(lambda: installation.run("status").returncode == 0)
    systems = {system["system"]: system["status"] for system in installation.status()["systems"]}
    assert systems == {"scheduler": "HEALTHY", "worker": "HEALTHY", "notification": "HEALTHY"}


def test_services_that_stop_leave_the_registry_and_their_ports(installation: Monitored) -> None:
    endpoints = installation.start_all()
    for process in installation.started:
        process.terminate()
    assert [process.wait(timeout=30) for process in installation.started] == [0, 0, 0]
    assert installation.status() == {"is_healthy": False, "services": [], "systems": []}
    with pytest.raises(httpx.ConnectError):
        get(endpoints["scheduler"]["livez"])
    assert "Traceback" not in "".join(installation.output(service) for service in SERVICES)


def test_a_killed_service_is_taken_out_by_the_next_one(installation: Monitored) -> None:
    installation.start("worker", "start")
    installation.endpoints(1)
    ((first, _, _),) = installation.registered()
    installation.kill("worker")
    installation.started[0].wait()
    installation.start("worker", "start")
    wait_for(lambda: first not in {instance for instance, _, _ in installation.registered()})
    wait_for(lambda: len(installation.registered()) == 1)
    assert first not in {instance for instance, _, _ in installation.registered()}


def test_health_answers_during_the_start_up_delay(installation: Monitored) -> None:
    installation.environment["SCHEDULER_STARTUP_DELAY"] = "3600"
    installation.start("scheduler", "start")
    endpoints = installation.endpoints(1)["scheduler"]
    wait_for(partial(is_ready, endpoints))
    assert has_health(endpoints["health"], "degraded", scheduler="starting", database="connected")


def test_a_second_scheduler_stands_by_and_is_healthy(installation: Monitored) -> None:
    installation.start("worker", "start")
    urls = []
    for count in (2, 3):
        installation.start("scheduler", "start")
        installation.endpoints(count)
        urls = [
            s["endpoints"]["health"] for s in installation.status()["services"] if s["service"] == "scheduler"
        ]
    assert len(set(urls)) == 2
    wait_for(lambda: {get(url).json()["components"]["scheduler"] for url in urls} == {"running", "standby"})
    wait_for(lambda: all(has_health(url, "healthy") for url in urls))


def test_a_taken_port_is_one_sentence(installation: Monitored) -> None:
    installation.start("scheduler", "start")
    url = installation.endpoints(1)["scheduler"]["health"]
    port = str(httpx.URL(url).port)
    installation.environment["ATF_SCHEDULER_PORT"] = port
    refused = installation.run("scheduler", "start")
    assert refused.returncode == 1
    sentence = f"atf: ATF_SCHEDULER_PORT: cannot listen on 127.0.0.1 port {port}: Address already in use;"
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
    installation.environment["ATF_HEALTH_HOST"] = "0.0.0.0"
    refused = installation.run("worker", "start")
    assert (refused.returncode, "ATF_HEALTH_HOST: must be" in refused.stderr) == (1, True)


@pytest.fixture
def own_handle(own_cluster: EmbeddedCluster) -> Iterator[ClusterHandle]:
    with own_cluster.acquire() as handle:
        migrate.upgrade(handle.url())
        yield handle


def test_health_tells_within_three_seconds_that_the_database_is_gone_and_that_it_is_back(
    own_handle: ClusterHandle,
) -> None:
    with Monitored({"ATF_DATABASE_URL": own_handle.url()}) as installation:
        endpoints = installation.start_all()
        health = endpoints["scheduler"]["health"]
        wait_for(lambda: has_health(health, "healthy"))
        postmaster = int((own_handle.data_dir / "postmaster.pid").read_text().splitlines()[0])
        kill(postmaster)
        killed_at = time.monotonic()
        wait_for(lambda: get(health).status_code == 503, patience=3)
        assert time.monotonic() - killed_at < 3
        assert has_health(health, "unhealthy", database="disconnected")
        for service in SERVICES:
            began = time.monotonic()
            assert get(endpoints[service]["readyz"]).status_code == 503
            assert get(endpoints[service]["health"]).status_code == 503
            assert get(endpoints[service]["livez"]).status_code == 200
            assert time.monotonic() - began < 5
        wait_for(lambda: get(endpoints["scheduler"]["stats"]).status_code == 503, patience=10)  # kept for 5 s
        assert own_handle.ensure()
        wait_for(lambda: has_health(health, "healthy"), patience=60)
        for service in SERVICES:
            wait_for(partial(is_ready, endpoints[service]), patience=60)
        assert all(process.poll() is None for process in installation.started)
