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
import asyncio, os, sys
from atf.lifecycle import LIFELINE_VARIABLE, run_process

async def told() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

async def main() -> None:
    print("running", LIFELINE_VARIABLE in os.environ, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("cancelled", flush=True)
        await told()
        print("clean", flush=True)

run_process(main())
"""
FAILING_CHILD = """
from atf.lifecycle import run_process

async def main() -> None:
    raise ZeroDivisionError

run_process(main())
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


def test_error_of_the_main_coroutine_is_the_processs_error() -> None:
    ended = subprocess.run([sys.executable, "-c", FAILING_CHILD], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
