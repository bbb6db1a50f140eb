"""Heavy runs on a real Dask cluster of two workers: as limited as elsewhere, and not lost with a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration import computations

from atf.adapters.processes.limits import MIB, RunLimits
from atf.jobs.child_run import ChildDied, Computation, HandlerFailed, RunTimedOut
from atf.testing.waiting import wait_for

pytest.importorskip("distributed", exc_type=ImportError)

from atf.adapters.dask.executor import DaskExecutor

LIMITS = RunLimits(memory_bytes=192 * MIB, processes=12, grace_seconds=0.3)
LONG = timedelta(seconds=100)
SOON = 60.0


class Cluster:
    """A Dask scheduler and its workers, each a process of its own, on loopback."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self._folder = folder
        file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--scheduler-file", str(file), "--port", "0")
        self.address: str = wait_for(lambda: _written(file), SOON, what="for the Dask scheduler")["address"]
        self.workers = [
            self._start("worker", self.address, "--nthreads", "1", "--no-nanny", "--name", str(number))
            for number in range(workers)
        ]

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        paths = {"TMPDIR": str(self._folder), "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1", "--no-dashboard"]
        with (self._folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, *options], stdout=log, stderr=log, cwd=self._folder, env={**os.environ, **paths}
            )

    def close(self) -> None:
        """End all processes."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def _written(file: Path) -> dict[str, Any]:
    """What the file holds, once it is complete."""
    try:
        written: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return written


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    opened = Cluster(tmp_path)
    yield opened
    opened.close()


@contextmanager
def executor_on(address: str, **options: Any) -> Iterator[DaskExecutor]:
    executor = DaskExecutor(address, limits=LIMITS, **options)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def named(function: str, document: dict[str, Any] | None = None, max_runtime: timedelta = LONG) -> Computation:
    return Computation(f"tests.integration.computations:{function}", document or {}, max_runtime)


def noted(pids: Path) -> list[int]:
    return [int(line) for line in pids.read_text().split()] if pids.exists() else []


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_runs_are_limited_there_as_here(cluster: Cluster, tmp_path: Path) -> None:
    with executor_on(cluster.address) as executor:
        assert executor.submit(computations.echo, {"n": [1, None]}).result(SOON) == {"n": [1, None]}
        assert executor.compute(named("limits")).result(SOON)["memory"] == [192 * MIB] * 2
        seen = executor.compute(named("whoami")).result(SOON)
        assert [name for name in seen["environment"] if name.startswith(("ATF_", "DASK_", "PG"))] == []
        spinning = {"pids": str(tmp_path / "spin")}
        with pytest.raises(RunTimedOut, match=r"took longer than 0\.5 s"):
            executor.compute(named("spin", spinning, timedelta(seconds=0.5))).result(SOON)
        with pytest.raises(ChildDied, match="killed by SIGSEGV"):
            executor.compute(named("segfault")).result(SOON)
        with pytest.raises(HandlerFailed, match=r"task_params\.size: is not good") as failed:
            executor.compute(named("fail", {"how": "input"})).result(SOON)
        assert failed.value.is_permanent
        assert "Traceback" in failed.value.remote_traceback
        with pytest.raises(HandlerFailed) as later:
            executor.compute(named("fail", {"how": "temporary"})).result(SOON)
        assert later.value.retry_after_seconds == 17
        assert all(worker.poll() is None for worker in cluster.workers)
    assert not any(map(lives, noted(tmp_path / "spin")))


def test_a_run_whose_dask_worker_is_killed_is_done_by_the_other_one(cluster: Cluster, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with executor_on(cluster.address) as executor:
        document = {"pids": str(pids), "file": str(tmp_path / "may end")}
        future = executor.compute(named("wait_for_file", document))
        wait_for(lambda: noted(pids), SOON, what="for the run to begin")
        (first,) = noted(pids)
        victim = parent_of(first)
        assert victim in [worker.pid for worker in cluster.workers]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: not lives(first), 10, what="for the run to die with its worker")
        wait_for(lambda: len(noted(pids)) == 2, SOON, what="for the run to begin again")
        assert parent_of(noted(pids)[1]) not in (victim, 1)
        (tmp_path / "may end").touch()
        assert future.result(SOON)["pid"] == noted(pids)[1]


def test_a_run_that_no_dask_worker_can_finish_is_reported_lost_in_time(cluster: Cluster, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with executor_on(cluster.address, patience=timedelta(seconds=3)) as executor:
        document = {"pids": str(pids), "file": str(tmp_path / "never")}
        executor.compute(named("echo")).result(SOON)
        future = executor.compute(named("wait_for_file", document, timedelta(seconds=5)))
        wait_for(lambda: noted(pids), SOON, what="for the run to begin")
        for worker in cluster.workers:
            worker.kill()
        with pytest.raises(ChildDied, match="no worker of the Dask cluster brought the run to an end within 8 s"):
            future.result(SOON)


def test_a_run_is_reported_lost_when_the_dask_scheduler_dies(cluster: Cluster, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with executor_on(cluster.address, patience=timedelta(seconds=3)) as executor:
        document = {"pids": str(pids), "file": str(tmp_path / "never")}
        future = executor.compute(named("wait_for_file", document, timedelta(seconds=20)))
        wait_for(lambda: noted(pids), SOON, what="for the run to begin")
        cluster.scheduler.kill()
        with pytest.raises(ChildDied, match="Dask cluster"):
            future.result(SOON)
        with pytest.raises(ChildDied, match="Dask"):
            executor.compute(named("echo", {}, timedelta(seconds=1))).result(SOON)


def test_cancelling_kills_the_child_process_on_the_dask_worker(cluster: Cluster, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with executor_on(cluster.address) as executor:
        future = executor.compute(named("ignore_being_told", {"pids": str(pids)}))
        wait_for(lambda: len(noted(pids)) == 2, SOON, what="for the run to begin")
        assert future.cancel()
        assert wait([future], SOON).done == {future}
        wait_for(lambda: not any(map(lives, noted(pids))), 10, what="for the run's processes to die")
        assert executor.compute(named("echo", {"n": 1})).result(SOON) == {"n": 1}


def test_runs_die_when_the_process_that_asked_for_them_hangs_up(cluster: Cluster, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with executor_on(cluster.address) as executor:
        future = executor.compute(named("spin", {"pids": str(pids)}))
        wait_for(lambda: noted(pids), SOON, what="for the run to begin")
    assert future.cancelled()
    wait_for(lambda: not any(map(lives, noted(pids))), 10, what="for the run's processes to die")


def test_a_cluster_that_does_not_answer_costs_the_run_a_try_and_blocks_nobody(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atf.adapters.dask.executor._CONNECT_SECONDS", 0.5)
    with executor_on(f"tcp://127.0.0.1:{unused_tcp_port}") as executor:
        future = executor.compute(named("echo"))
        with pytest.raises(ChildDied, match=r"the Dask scheduler at tcp://127.0.0.1:.* does not answer"):
            future.result(SOON)


def test_an_unused_executor_has_nothing_to_free() -> None:
    before = threading.active_count()
    DaskExecutor("tcp://127.0.0.1:1").shutdown()
    assert threading.active_count() == before
