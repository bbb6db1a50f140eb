"""What systemd hears, on a real datagram socket."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.lifecycle.test_process import CHILD, line, may_end

from atf.lifecycle.sd_notify import SystemdNotifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def heard(systemd: socket.socket) -> str:
    return systemd.recv(4096).decode()


def test_each_word_is_one_datagram(systemd: socket.socket) -> None:
    notifier = SystemdNotifier({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "3000000"})
    assert notifier.watchdog_seconds == 3
    notifier.status("two\nlines")
    notifier.ready()
    notifier.watchdog()
    notifier.reloading()
    notifier.stopping()
    assert [heard(systemd) for _ in range(3)] == ["STATUS=two lines", "READY=1", "WATCHDOG=1"]
    assert heard(systemd).startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert heard(systemd) == "STOPPING=1"


def test_abstract_names_work() -> None:
    name = f"\0atf-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name)
        listening.settimeout(10)
        SystemdNotifier({"NOTIFY_SOCKET": f"@{name[1:]}"}).ready()
        assert heard(listening) == "READY=1"


def test_without_systemd_and_with_a_dead_one_nothing_happens(tmp_path: Path) -> None:
    assert SystemdNotifier({}).watchdog_seconds is None
    SystemdNotifier({}).ready()
    SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()


def test_a_process_tells_its_whole_life(systemd: socket.socket) -> None:
    environment = os.environ | {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "300000"}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert line(process) == "running False"
        words = [heard(systemd) for _ in range(6)]
        assert [word for word in words if word != "WATCHDOG=1"][:3] == [
            "STATUS=starting",
            "READY=1",
            "STATUS=running",
        ]
        assert "WATCHDOG=1" in words
        process.send_signal(signal.SIGHUP)
        while not (word := heard(systemd)).startswith("RELOADING=1"):
            assert word == "WATCHDOG=1"
        process.send_signal(signal.SIGTERM)
        may_end(process)
        while heard(systemd) != "STOPPING=1":
            pass
        assert process.wait(10) == 0
