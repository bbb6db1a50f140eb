"""Heavy runs in real child processes: each is limited, killed with all it has started, and hurts only itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration import computations

from atf.adapters.processes.executor import ProcessExecutor
from atf.adapters.processes.limits import MIB, RunLimits
from atf.errors import PermanentFailure
from atf.jobs.child_run import ChildDied, Computation, HandlerFailed, RunQuota, RunTimedOut
from atf.testing.waiting import wait_for

LIMITS = RunLimits(memory_bytes=192 * MIB, processes=12, grace_seconds=0.3)
LONG = timedelta(seconds=60)
SOON = 30.0


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(2, limits=LIMITS) as opened:
        yield opened


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """Where a run notes the processes that it consists of."""
    return tmp_path / "pids"


def named(function: str, document: dict[str, Any] | None = None, max_runtime: timedelta = LONG) -> Computation:
    return Computation(f"tests.integration.computations:{function}", document or {}, max_runtime)


def noted(pids: Path) -> list[int]:
    return [int(line) for line in pids.read_text().split()] if pids.exists() else []


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat[stat.rfind(b")") + 2 :][:1] != b"Z"


def living(pids: Path) -> list[int]:
    return [pid for pid in noted(pids) if lives(pid)]


@contextmanager
def neighbour(executor: ProcessExecutor, tmp_path: Path) -> Iterator[None]:
    """A run of the same executor goes on beside what is done here, and comes to its good end afterwards."""
    document = {"file": str(tmp_path / "may end"), "pids": str(tmp_path / "neighbour")}
    beside = executor.compute(named("wait_for_file", document))
    wait_for(lambda: noted(tmp_path / "neighbour"), SOON)
    yield
    assert not beside.done()
    (tmp_path / "may end").touch()
    assert [beside.result(SOON)["pid"]] == noted(tmp_path / "neighbour")


def test_a_result_comes_back_from_another_process(executor: ProcessExecutor) -> None:
    document = {"text": "caf\u00e9 \u20ac \U0001f600", "numbers": [1, 2.5, None, True], "nested": {"a": []}}
    assert executor.submit(computations.echo, document).result(SOON) == document
    assert executor.compute(named("whoami")).result(SOON)["pid"] != os.getpid()


def test_a_large_document_comes_through(executor: ProcessExecutor) -> None:
    document = {"text": "x" * 1_000_000}
    assert executor.compute(named("echo", document)).result(SOON) == document


def test_only_functions_that_a_child_can_find_are_taken(executor: ProcessExecutor) -> None:
    for function in (lambda document: document, self_made()):
        with pytest.raises(ValueError, match="importable module"):
            executor.submit(function, {})


def self_made() -> Any:
    def inner(document: dict[str, Any]) -> dict[str, Any]:
        return document

    return inner


def test_a_child_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (
        "ATF_DATABASE_URL",
        "SCHEDULER_DATABASE_URL",
        "PGPASSWORD",
        "TELEGRAM_TOKEN",
        "MY_SECRET",
        "API_KEY",
    )
    for name in secrets:
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("TZ", "Europe/Zurich")
    with ProcessExecutor(1) as executor:
        seen = executor.compute(named("whoami")).result(SOON)
    environment = seen["environment"]
    assert "s3cret" not in environment.values()
    assert [name for name in environment if name.startswith(("ATF_", "SCHEDULER_", "PG"))] == []
    assert (environment["TZ"], environment["OPENBLAS_NUM_THREADS"]) == ("Europe/Zurich", "1")


def test_a_child_has_its_own_session_and_folder_and_no_open_files_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "ours").open("w") as ours, ProcessExecutor(1) as executor:
        os.set_inheritable(ours.fileno(), True)
        seen = executor.compute(named("whoami")).result(SOON)
        assert Path(seen["folder"]).is_dir()
    assert seen["session"] == seen["pid"]
    assert len(seen["descriptors"]) == 5  # standard three, the channel, and the one that listed them
    assert not Path(seen["folder"]).exists()
    assert not Path(seen["folder"]).parent.exists()


def test_a_child_loads_nothing_heavy_by_itself(executor: ProcessExecutor) -> None:
    modules = set(executor.compute(named("whoami")).result(SOON)["modules"])
    assert modules & {"pandas", "numpy", "sqlalchemy", "pydantic", "asyncio", "logging", "dataclasses"} == set()


def test_a_child_limits_itself(executor: ProcessExecutor) -> None:
    assert executor.compute(named("limits")).result(SOON) == {
        "memory": [192 * MIB] * 2,
        "open_files": [256] * 2,
        "core": [0, 0],
    }


@pytest.mark.parametrize(
    ("function", "document", "says"),
    [
        ("exit_at_once", {"code": 3}, r"exit code 3; its last output:\nabout to leave"),
        ("segfault", {}, r"killed by SIGSEGV.*\nFatal Python error: Segmentation fault"),
        ("close_everything", {}, "it closed its connection"),
        ("write_into_every_descriptor", {}, "what it sent is no answer"),
        ("die_by", {"signal": signal.SIGRTMIN + 5}, "killed by signal 39"),
        ("die_by", {"signal": signal.SIGKILL}, "killed by SIGKILL, perhaps for lack of memory"),
        ("allocate_in_children", {"kib_each": 64 * 1024}, "killed: memory limit of 192 MiB"),
    ],
)
def test_a_run_that_dies_says_how_and_hurts_only_itself(
    executor: ProcessExecutor, tmp_path: Path, function: str, document: dict[str, Any], says: str
) -> None:
    with neighbour(executor, tmp_path):
        with pytest.raises(ChildDied, match=says):
            executor.compute(named(function, document)).result(SOON)
        assert executor.compute(named("echo", {"still": "there"})).result(SOON) == {"still": "there"}


def test_a_run_that_allocates_without_end_fails_by_its_memory_limit(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    with neighbour(executor, tmp_path), pytest.raises(HandlerFailed, match="memory limit of 192 MiB") as failed:
        executor.compute(named("allocate")).result(SOON)
    assert failed.value.remote_type == "MemoryError"


def test_a_run_that_takes_more_of_a_processor_than_its_user_may_is_killed(
    executor: ProcessExecutor, tmp_path: Path, pids: Path
) -> None:
    greedy = replace(named("spin", {"pids": str(pids)}), quota=RunQuota(cpu_seconds=0.5))
    with neighbour(executor, tmp_path), pytest.raises(ChildDied, match=r"limit of 0\.5 s of a processor"):
        executor.compute(greedy).result(SOON)
    assert living(pids) == []


def test_what_a_child_did_for_others_before_is_not_counted() -> None:
    with ProcessExecutor(1, limits=LIMITS) as executor:
        first = executor.compute(named("burn", {"cpu_seconds": 1.2})).result(SOON)
        modest = replace(named("burn", {"cpu_seconds": 0.6}), quota=RunQuota(cpu_seconds=1.0))
        assert executor.compute(modest).result(SOON) == first


def test_a_run_may_take_less_memory_than_others_if_its_user_may(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    narrow = replace(
        named("allocate_in_children", {"kib_each": 16 * 1024}), quota=RunQuota(memory_bytes=48 * MIB)
    )
    with neighbour(executor, tmp_path), pytest.raises(ChildDied, match="memory limit of 48 MiB"):
        executor.compute(narrow).result(SOON)


def test_a_run_that_forks_without_end_is_killed_with_all_its_children(
    executor: ProcessExecutor, tmp_path: Path, pids: Path
) -> None:
    with neighbour(executor, tmp_path), pytest.raises(ChildDied, match="process limit of 12"):
        executor.compute(named("fork_on", {"pids": str(pids), "most": 60})).result(SOON)
    assert len(noted(pids)) >= 12
    assert living(pids) == []


@pytest.mark.parametrize("function", ["spin", "ignore_being_told"])
def test_a_run_that_does_not_stop_is_killed_at_its_time_limit(
    executor: ProcessExecutor, tmp_path: Path, pids: Path, function: str
) -> None:
    began = time.monotonic()
    with neighbour(executor, tmp_path), pytest.raises(RunTimedOut, match=r"took longer than 0\.5 s"):
        executor.compute(named(function, {"pids": str(pids)}, timedelta(seconds=0.5))).result(SOON)
    assert 0.8 <= time.monotonic() - began < 10
    assert noted(pids)
    assert living(pids) == []


def test_a_run_has_a_moment_to_clear_up(executor: ProcessExecutor, tmp_path: Path, pids: Path) -> None:
    document = {"pids": str(pids), "cleared": str(tmp_path / "cleared")}
    with pytest.raises(RunTimedOut):
        executor.compute(named("sleep_politely", document, timedelta(seconds=0.3))).result(SOON)
    assert (tmp_path / "cleared").exists()


@pytest.mark.parametrize("function", ["spin", "ignore_being_told", "sleep_politely"])
def test_cancelling_kills_a_run_that_goes_on(
    executor: ProcessExecutor, tmp_path: Path, pids: Path, function: str
) -> None:
    with neighbour(executor, tmp_path):
        document = {"pids": str(pids), "cleared": str(tmp_path / "cleared")}
        future = executor.compute(named(function, document))
        wait_for(lambda: noted(pids), SOON)
        assert future.running()
        assert future.cancel()
        assert wait([future], SOON).done == {future}
        assert future.cancelled()
        assert living(pids) == []
    with pytest.raises(CancelledError):
        future.result()


@pytest.mark.parametrize("then", ["return", "exit", "wait"])
def test_a_daemon_does_not_outlive_the_run_that_started_it(
    executor: ProcessExecutor, pids: Path, then: str
) -> None:
    document = {"pids": str(pids), "then": then}
    future = executor.compute(named("leave_stray", document, LONG))
    if then == "wait":
        wait_for(lambda: len(noted(pids)) == 2, SOON)
        future.cancel()
    wait([future], SOON)
    assert future.done()
    assert len(noted(pids)) == 2
    assert living(pids) == []
    if then == "return":
        assert future.result() == {"left": True}


def test_a_child_in_which_a_run_left_a_thread_is_not_used_again() -> None:
    with ProcessExecutor(1, limits=LIMITS) as executor:
        first = executor.compute(named("leave_thread")).result(SOON)
        assert executor.compute(named("whoami")).result(SOON)["pid"] != first["pid"]


def test_a_run_may_use_programs_of_its_own(executor: ProcessExecutor) -> None:
    assert executor.compute(named("start_program")).result(SOON) == {"answer": 42}


def test_output_neither_blocks_a_run_nor_disturbs_its_answer(executor: ProcessExecutor) -> None:
    assert executor.compute(named("write_much")).result(SOON) == {"wrote": 10_000_000}


@pytest.mark.parametrize(
    ("function", "document", "text", "is_permanent", "retry_after"),
    [
        ("fail", {"how": "value"}, "ValueError: no such thing", False, None),
        ("fail", {"how": "permanent"}, "PermanentFailure: never again", True, None),
        ("fail", {"how": "input"}, "InvalidInput: task_params.size: is not good", True, None),
        ("fail", {"how": "temporary"}, "TemporaryFailure: busy", False, 17),
        ("exit_by_system_exit", {}, "SystemExit: that is enough", False, None),
        ("nowhere", {}, "PermanentFailure: tests.integration.computations:nowhere cannot be loaded", True, None),
    ],
)
def test_an_error_comes_back_with_all_that_the_worker_must_know(
    executor: ProcessExecutor,
    function: str,
    document: dict[str, Any],
    text: str,
    is_permanent: bool,
    retry_after: float | None,
) -> None:
    with pytest.raises(HandlerFailed) as failed:
        executor.compute(named(function, document)).result(SOON)
    assert str(failed.value).startswith(text)
    assert (failed.value.is_permanent, failed.value.retry_after_seconds) == (is_permanent, retry_after)
    assert "Traceback" in failed.value.remote_traceback


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("nan", r"the result holds NaN at prices\[1\]\.last"),
        ("infinity", "the result holds -Infinity at ratio"),
        ("list", r"the result must be a JSON object \(a dict\), not a list"),
        ("none", "the result must be a JSON object .*, not None"),
        ("set", r"the result holds a set at symbols\.inner"),
        ("circle", "the result is nested deeper than 100 levels"),
        ("large", "the result has 1100011 bytes as JSON; at most 1048576 are allowed"),
    ],
)
def test_a_result_that_cannot_be_stored_fails_for_good(executor: ProcessExecutor, what: str, says: str) -> None:
    with pytest.raises(HandlerFailed, match=says) as failed:
        executor.compute(named("unusable", {"what": what})).result(SOON)
    assert failed.value.is_permanent


def test_an_input_that_is_not_json_is_refused_at_once(executor: ProcessExecutor) -> None:
    with pytest.raises(PermanentFailure, match=r"the input of the run holds NaN at document\.x"):
        executor.compute(named("echo", {"x": float("nan")}))


def test_children_are_used_again_and_replaced_after_their_number_of_runs() -> None:
    with ProcessExecutor(1, runs_per_child=3) as executor:
        seen = [executor.compute(named("whoami")).result(SOON)["pid"] for _ in range(7)]
    assert [len(set(seen[:3])), len(set(seen[3:6])), len(set(seen))] == [1, 1, 3]


def test_no_more_runs_at_once_than_there_are_workers(tmp_path: Path) -> None:
    with ProcessExecutor(2) as executor:
        documents = [{"file": str(tmp_path / "go"), "pids": str(tmp_path / f"pid{n}")} for n in range(5)]
        futures = [executor.compute(named("wait_for_file", one)) for one in documents]
        wait_for(lambda: sum(future.running() for future in futures) == 2, SOON)
        wait_for(lambda: len(list(tmp_path.glob("pid*"))) == 2, SOON)
        assert not any(future.done() for future in futures)
        (tmp_path / "go").touch()
        assert len({future.result(SOON)["pid"] for future in futures}) == 2


def test_a_run_that_waits_is_cancelled_at_once(tmp_path: Path, pids: Path) -> None:
    with ProcessExecutor(1) as executor:
        first = executor.compute(named("wait_for_file", {"file": str(tmp_path / "go"), "pids": str(pids)}))
        second, third = (executor.compute(named("echo", {"n": n})) for n in (2, 3))
        assert second.cancel()
        assert second.cancelled()
        assert second.cancel()
        (tmp_path / "go").touch()
        assert third.result(SOON) == {"n": 3}
        assert first.done()
        assert not first.cancel()


def test_a_child_killed_while_idle_is_replaced(executor: ProcessExecutor) -> None:
    first = executor.compute(named("whoami")).result(SOON)["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not lives(first), SOON)
    assert executor.compute(named("whoami")).result(SOON)["pid"] != first


def test_shutdown_ends_what_runs_and_takes_nothing_more(tmp_path: Path, pids: Path) -> None:
    executor = ProcessExecutor(1)
    first = executor.compute(named("wait_for_file", {"file": str(tmp_path / "go"), "pids": str(pids)}))
    second = executor.compute(named("echo"))
    wait_for(lambda: noted(pids), SOON)
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.compute(named("echo"))
    assert second.cancelled()
    (tmp_path / "go").touch()
    assert first.result(SOON)["pid"]
    executor.shutdown()
    assert living(pids) == []


def test_nothing_is_left_of_an_executor(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = (descriptors(), threading.active_count())
    for _ in range(3):
        with ProcessExecutor(2, limits=LIMITS) as executor:
            executor.compute(named("echo")).result(SOON)
            executor.compute(named("exit_at_once", {"code": 1})).exception(SOON)
            executor.compute(named("spin", {"pids": str(tmp_path / "pids")}, timedelta(seconds=0.2))).exception(
                SOON
            )
    assert (descriptors(), threading.active_count()) == before


def test_an_executor_that_was_never_used_has_nothing_to_free() -> None:
    before = threading.active_count()
    ProcessExecutor(2).shutdown()
    assert threading.active_count() == before


async def test_the_event_loop_goes_on_while_runs_compute(executor: ProcessExecutor, pids: Path) -> None:
    longest, asleep = 0.0, True

    async def measure() -> None:
        nonlocal longest
        while asleep:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - began)

    watching = asyncio.create_task(measure())
    futures = [asyncio.wrap_future(executor.compute(named("echo", {"n": n}))) for n in range(200)]
    assert await asyncio.gather(*futures) == [{"n": n} for n in range(200)]
    stopped = asyncio.wrap_future(executor.compute(named("spin", {"pids": str(pids)})))
    await asyncio.to_thread(wait_for, lambda: noted(pids), SOON)
    stopped.cancel()
    await asyncio.to_thread(wait_for, lambda: not living(pids), SOON)
    asleep = False
    await watching
    assert longest < 0.5


PARENT = """
import sys
from datetime import timedelta
from atf.adapters.processes.executor import ProcessExecutor
from atf.jobs.child_run import Computation

executor = ProcessExecutor(2)
pids = sys.argv[1]
for function, then in (("spin", ""), ("leave_stray", "wait")):
    name = "tests.integration.computations:" + function
    executor.compute(Computation(name, {"pids": pids + function, "then": then}, timedelta(hours=1)))
if sys.argv[2] == "wait":
    sys.stdin.read()
else:
    while sum(len(open(pids + name).readlines()) for name in ("spin", "leave_stray")) < 3:
        pass
"""


@contextmanager
def parent_of_runs(tmp_path: Path, then: str) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process with an executor in which three processes run: one holds its interpreter, one is a daemon."""
    for name in ("spin", "leave_stray"):
        (tmp_path / f"pids{name}").touch()
    command = [sys.executable, "-c", PARENT, str(tmp_path / "pids"), then]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as parent:
        try:
            files = (tmp_path / "pidsspin", tmp_path / "pidsleave_stray")
            wait_for(lambda: sum(len(noted(file)) for file in files) == 3, SOON)
            yield parent, [pid for file in files for pid in noted(file)]
        finally:
            parent.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_whatever_runs_dies_with_a_worker_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    with parent_of_runs(tmp_path, "wait") as (parent, running):
        assert all(map(lives, running))
        parent.send_signal(number)
        parent.wait(SOON)
        wait_for(lambda: not any(map(lives, running)), 10, what=f"for the end of {running}")
    wait_for(lambda: not list(tmp_path.glob("atf-runs-*")), 10, what="for the scratch folder to go")


def test_a_run_dies_with_its_worker_even_if_the_keeper_was_killed(tmp_path: Path) -> None:
    with parent_of_runs(tmp_path, "wait") as (parent, running):
        os.kill(keeper_of(parent.pid), signal.SIGKILL)
        parent.kill()
        parent.wait(SOON)
        children = running[:2]
        wait_for(lambda: not any(map(lives, children)), 10, what=f"for the end of {children}")
        for pid in running[2:]:
            os.kill(pid, signal.SIGKILL)


def keeper_of(pid: int) -> int:
    child_of = f"PPid:\t{pid}\n".encode()
    children = [one for one in Path("/proc").glob("[0-9]*") if child_of in _text(one / "status")]
    (keeper,) = [one for one in children if b"processes.keeper" in _text(one / "cmdline")]
    return int(keeper.name)


def _text(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_a_process_that_forgets_to_shut_down_ends_all_the_same(tmp_path: Path) -> None:
    with parent_of_runs(tmp_path, "end") as (parent, running):
        assert parent.wait(SOON) == 0
        wait_for(lambda: not any(map(lives, running)), 10)


def test_small_runs_are_cheap() -> None:
    with ProcessExecutor(2, runs_per_child=10_000) as executor:
        wait([executor.compute(named("echo")) for _ in range(2)], SOON)
        began = time.monotonic()
        futures = [executor.compute(named("echo", {"n": n})) for n in range(1000)]
        assert [future.result(SOON)["n"] for future in futures] == list(range(1000))
        assert time.monotonic() - began < 10  # far less on an idle machine


def test_a_copy_that_a_run_makes_of_its_process_does_not_answer_for_it(executor: ProcessExecutor) -> None:
    results = [executor.compute(named("return_twice")).result(SOON) for _ in range(5)]
    assert results == [{"is_copy": False}] * 5
    assert executor.compute(named("echo", {"n": 1})).result(SOON) == {"n": 1}


def test_a_run_does_not_change_the_process_for_the_next_one(tmp_path: Path, pids: Path) -> None:
    with ProcessExecutor(1, limits=LIMITS) as executor:
        first = executor.compute(named("disarrange")).result(SOON)["pid"]
        assert executor.compute(named("whoami")).result(SOON)["folder"] != "/"
        document = {"pids": str(pids), "cleared": str(tmp_path / "cleared")}
        executor.compute(named("sleep_politely", document, timedelta(seconds=0.3))).exception(SOON)
    assert noted(pids) == [first]
    assert (tmp_path / "cleared").exists()


def test_numeric_libraries_work_under_the_default_limits() -> None:
    with ProcessExecutor(1) as executor:
        assert executor.compute(named("load_numeric_libraries")).result(SOON) == {"solved": True, "ema": 300}
