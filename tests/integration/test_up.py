"""`atf up`: one command starts everything, and whatever ends it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from atf.testing.processes import Installation, is_alive
from atf.testing.waiting import wait_for

SERVICES = ("scheduler", "trading", "worker", "telegram")


@pytest.fixture
def installation() -> Iterator[Installation]:
    with Installation() as made:
        yield made


def started(installation: Installation) -> subprocess.Popen[bytes]:
    up = installation.start("up")

    def is_up() -> bool:
        assert up.poll() is None, installation.output("up")
        return "everything is up" in installation.output("up")

    wait_for(is_up, what="for atf up")
    return up


def health_url(installation: Installation) -> str:
    """Where the scheduler tells its health."""
    listed = json.loads(installation.run("status", "--json").stdout)
    (scheduler,) = [one for one in listed["services"] if one["service"] == "scheduler"]
    return str(scheduler["endpoints"]["health"])


def health(url: str) -> dict[str, Any]:
    """What it says there; an answer of 503 is an answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as refused:
        found = json.load(refused)
    assert isinstance(found, dict)
    return found


def nothing_runs(installation: Installation) -> bool:
    return not installation.processes() and not installation.postmasters()


def test_it_starts_everything_says_where_and_stops_in_order(installation: Installation) -> None:
    up = started(installation)
    assert all(len(installation.pids_of(service)) == 1 for service in SERVICES)
    said = installation.output("up")
    assert "scheduler runs as process" in said
    assert "http://127.0.0.1:" in said
    assert re.search(
        r"^set the owner's password: http://localhost:8000/account/setup#atf_setup_\S+ \(",
        said,
        re.MULTILINE,
    )
    assert health(health_url(installation))["status"] == "healthy"
    refused = installation.run("up")
    assert refused.returncode == 1
    assert f"process {up.pid}" in refused.stderr
    assert "Traceback" not in refused.stderr
    up.send_signal(signal.SIGTERM)
    assert up.wait(timeout=30) == 0
    assert nothing_runs(installation)
    assert "is killed" not in installation.output("up")
    assert started(installation).poll() is None
    wait_for(lambda: installation.output("up").count("everything is up") == 2, what="for atf up again")
    assert installation.output("up").count("set the owner's password: ") == 1  # that link still holds


def test_killed_with_9_it_leaves_no_orphan_and_no_server(installation: Installation) -> None:
    up = started(installation)
    up.kill()
    up.wait()
    wait_for(lambda: nothing_runs(installation), patience=30, what="for the orphans' end")
    assert "Traceback" not in installation.output("up")


def test_a_child_that_dies_is_started_again_alone(installation: Installation) -> None:
    started(installation)
    others = {service: installation.pids_of(service) for service in ("scheduler", "telegram")}
    (killed,) = installation.kill("worker")
    (again,) = wait_for(lambda: [pid for pid in installation.pids_of("worker") if pid != killed])
    assert again != killed
    assert {service: installation.pids_of(service) for service in others} == others


def test_a_killed_database_heals_without_a_restart_of_any_service(installation: Installation) -> None:
    started(installation)
    before = {service: installation.pids_of(service) for service in SERVICES}
    url = health_url(installation)
    wait_for(lambda: health(url)["status"] == "healthy", patience=30, what="for health")
    killed = installation.postmasters()
    installation.kill_postmasters()
    wait_for(lambda: set(installation.postmasters()) - set(killed), patience=30, what="for the database")
    wait_for(lambda: health(url)["status"] == "healthy", patience=30, what="for health")
    assert {service: installation.pids_of(service) for service in SERVICES} == before


def test_ctrl_c_reaches_it_as_from_a_terminal(installation: Installation) -> None:
    up = started(installation)
    os.kill(up.pid, signal.SIGINT)
    assert up.wait(timeout=30) == 0
    assert not is_alive(up.pid)
    assert nothing_runs(installation)
