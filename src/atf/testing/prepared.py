"""``atf`` commands in processes forked from one that has loaded ATF: importing takes most of a short one's time.

Each is a process of its own with its own environment, folder, standard streams and exit status. What a test
watches or kills from outside is started by ``Installation.start``, as a user starts it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, NoReturn

_LARGEST: Final = 1 << 20
"""Bytes of a request: the words and the whole environment of a command."""


class PreparedCommands:
    """Runs commands one after another; whoever comes in between waits. It ends with its process."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._turn = threading.Lock()
        with theirs:
            # Threads of a library would not be there after a fork, whatever locks they hold.
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "NO_COLOR": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "atf.testing.prepared", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._ours.close()
        self._process.wait()

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], *, stdin: str | None, patience: float
    ) -> subprocess.CompletedProcess[str]:
        """Run ``atf`` with these words to its end.

        Errors: subprocess.TimeoutExpired after ``patience`` seconds; the command has been killed then.
        """
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write((stdin or "").encode())
            given.seek(0)
            request = {"words": words, "environment": dict(environment), "folder": str(Path.cwd())}
            with self._turn:
                status = self._status_of(request, [given, out, err], patience)
            return subprocess.CompletedProcess(["atf", *words], status, _text(out), _text(err))

    def _status_of(self, request: Mapping[str, Any], streams: Sequence[IO[bytes]], patience: float) -> int:
        socket.send_fds(self._ours, [json.dumps(request).encode()], [stream.fileno() for stream in streams])
        self._ours.settimeout(None)
        pid = int(self._ours.recv(_LARGEST))
        self._ours.settimeout(patience)
        try:
            return int(self._ours.recv(_LARGEST))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._ours.settimeout(None)
            self._ours.recv(_LARGEST)
            raise subprocess.TimeoutExpired(["atf", *request["words"]], patience) from None


@cache
def prepared_commands() -> PreparedCommands:
    """Return those of this process, prepared when they are first asked for."""
    return PreparedCommands()


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


def _serve(requests: socket.socket) -> None:
    """Fork a process for each request and tell its id, and then its exit status, until nobody asks any more."""
    while True:
        request, streams, _, _ = socket.recv_fds(requests, _LARGEST, 3)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            requests.close()
            _become(json.loads(request), streams)
        for stream in streams:
            os.close(stream)
        requests.send(str(pid).encode())
        status = _status_of(pid, requests)
        with suppress(OSError):
            requests.send(str(status).encode())


def _status_of(pid: int, requests: socket.socket) -> int:
    """Wait for the end of a command; it is killed if whoever asked for it ends before."""
    ending = os.pidfd_open(pid)
    readable, _, _ = select.select([ending, requests.fileno()], [], [])
    if ending not in readable:
        os.kill(pid, signal.SIGKILL)
    os.close(ending)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _become(request: Mapping[str, Any], streams: Sequence[int]) -> NoReturn:
    """Be the command: what Python has taken from the process around it before is that of the command now."""
    import atf

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    sys.argv = [str(Path(atf.__file__).with_name("__main__.py")), *request["words"]]
    sys.modules["__main__"].__package__ = "atf"  # by these two a command tells its own name
    status = 1
    try:
        atf.main()
        status = 0
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:  # noqa: BLE001 - as the end of any process is told
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _load() -> None:
    import exchange_calendars  # noqa: F401 - it takes a second, and many commands need it

    from atf.cli import SUBJECTS

    for subject in SUBJECTS:
        subject.load()
    gc.freeze()


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
