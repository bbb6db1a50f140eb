"""The supervisor over small real processes."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from atf.jobs.retry import BackOff
from atf.services.supervisor.supervisor import ChildCommand, ChildGaveUp, Supervisor

AT_ONCE = BackOff(timedelta(milliseconds=1), cap=timedelta(milliseconds=1))
READY = (
    "import os, signal, socket, sys\n"
    "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET'])\n"
    "log = open(sys.argv[1], 'a', buffering=1)\n"
    "log.write(f'{sys.argv[2]} begins {os.getpid()}\\n')\n"
    "def end(*_):\n    log.write(f'{sys.argv[2]} ends\\n'); os._exit(0)\n"
    "signal.signal(signal.SIGTERM, end); s.send(b'READY=1')\n"
    "while True: signal.pause()\n"
)
DEAF = READY.replace("log.write(f'{sys.argv[2]} ends\\n'); os._exit(0)", "pass")


def child(name: str, log: Path, script: str = READY) -> ChildCommand:
    return ChildCommand(name, ["-c", script, str(log), name], log.with_suffix(".err"), program=[sys.executable])


def begun(log: Path, name: str) -> list[int]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[2]) for line in lines if line.startswith(f"{name} begins")]


async def test_it_is_started_when_all_children_are_ready_and_stops_them_in_reverse(tmp_path: Path) -> None:
    log = tmp_path / "log"
    supervisor = Supervisor([child("first", log), child("second", log)])
    async with asyncio.timeout(20):
        await supervisor.start()
        assert begun(log, "first")
        assert begun(log, "second")
        await supervisor.stop()
    assert log.read_text().splitlines()[-2:] == ["second ends", "first ends"]


async def test_a_killed_child_is_started_again_and_the_other_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    supervisor = Supervisor([child("first", log), child("second", log)], back_off=AT_ONCE)
    async with asyncio.timeout(20):
        await supervisor.start()
        os.kill(begun(log, "first")[0], signal.SIGKILL)
        while len(begun(log, "first")) < 2:  # noqa: ASYNC110 - the child tells by its file alone
            await asyncio.sleep(0.01)
        await supervisor.stop()
    assert len(begun(log, "second")) == 1


async def test_a_child_that_cannot_live_is_given_up_loudly_and_the_others_are_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    broken = ChildCommand("broken", ["-c", "raise SystemExit(3)"], tmp_path / "err", program=[sys.executable])
    supervisor = Supervisor([child("first", log), broken], back_off=AT_ONCE)
    async with asyncio.timeout(20):
        with pytest.raises(ChildGaveUp, match=r"broken died 10 times right after its start .* status 3\): see "):
            await supervisor.start()
    assert log.read_text().splitlines()[-1] == "first ends"


async def test_a_child_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    supervisor = Supervisor([child("deaf", log, DEAF)], shutdown_timeout=timedelta(seconds=0.2))
    async with asyncio.timeout(20):
        await supervisor.start()
        (pid,) = begun(log, "deaf")
        await supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
