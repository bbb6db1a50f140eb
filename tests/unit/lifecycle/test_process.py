import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from atf.lifecycle import LIFELINE_VARIABLE

# Says when it runs and when it was cancelled; then it cleans up until it is told that it may end.
CHILD = """
import asyncio, gc, os, sys
from contextlib import asynccontextmanager
from atf.lifecycle import LIFELINE_VARIABLE, Service, run_process

class Child(Service):
    async def _serve(self, started):
        begun_with = [[] for _ in range(1000)]
        spared = gc.get_freeze_count()
        print("running", LIFELINE_VARIABLE in os.environ, flush=True)
        started()
        await asyncio.sleep(0)
        while gc.get_freeze_count() < spared + 1000:
            await asyncio.sleep(0.01)
        print("spared", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            print("cancelled", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            print("clean", flush=True)

    async def reload(self):
        print("reloaded", flush=True)

@asynccontextmanager
async def open_child():
    yield Child("child")

run_process(open_child)
"""
FAILING_CHILD = """
from contextlib import asynccontextmanager
from atf.lifecycle import Service, run_process

class Failing(Service):
    async def _serve(self, started):
        raise ZeroDivisionError

@asynccontextmanager
async def open_child():
    yield Failing("failing")

run_process(open_child)
"""


@contextmanager
def child(lifeline: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A running child; it is killed at the end if it still runs."""
    environment = dict(os.environ)
    if lifeline is not None:
        environment[LIFELINE_VARIABLE] = str(lifeline)
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        pass_fds=() if lifeline is None else (lifeline,),
    )
    with process:
        try:
            assert line(process) == "running False"
            assert line(process) == "spared"  # the garbage collector looks no more at what it has begun with
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def may_end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("end\n")
    process.stdin.flush()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process_cleanly(number: signal.Signals) -> None:
    with child() as process:
        process.send_signal(number)
        assert line(process) == "cancelled"
        may_end(process)
        assert (line(process), process.wait(10)) == ("clean", 0)


def test_end_of_the_lifeline_ends_the_process() -> None:
    reading, writing = os.pipe()
    with child(reading) as process:
        os.close(reading)
        os.close(writing)
        assert line(process) == "cancelled"
        may_end(process)
        assert (line(process), process.wait(10)) == ("clean", 0)


def test_further_signals_do_not_interrupt_the_cleaning_up() -> None:
    reading, writing = os.pipe()
    with child(reading) as process:
        os.close(reading)
        process.send_signal(signal.SIGINT)
        assert line(process) == "cancelled"
        process.send_signal(signal.SIGTERM)
        os.close(writing)
        may_end(process)
        assert (line(process), process.wait(10)) == ("clean", 0)


def test_hangup_reloads_and_the_process_goes_on() -> None:
    with child() as process:
        process.send_signal(signal.SIGHUP)
        assert line(process) == "reloaded"
        process.send_signal(signal.SIGTERM)
        assert line(process) == "cancelled"
        may_end(process)
        assert (line(process), process.wait(10)) == ("clean", 0)


def test_error_of_the_main_coroutine_is_the_processs_error() -> None:
    ended = subprocess.run([sys.executable, "-c", FAILING_CHILD], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
