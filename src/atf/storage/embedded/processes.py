"""Which PostgreSQL processes of a data directory are really running.

``kill(pid, 0)`` also succeeds for a zombie and for a stranger that got the same number. Where process 1
never reaps, as in containers without an init, zombies stay for ever, so state, name and working directory
are asked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

_PROC = Path("/proc")
_POLL_SECONDS = 0.01
_started_here: set[int] = set()


def remember_child(process: subprocess.Popen[bytes]) -> int:
    """Take over the waiting for a server that we started, and return its process id.

    The server may outlive whoever holds the object, and Popen warns when it is dropped unfinished.
    """
    process.returncode = 0
    _started_here.add(process.pid)
    return process.pid


def is_running(pid: int, data_dir: Path) -> bool:
    """Return whether ``pid`` is a live PostgreSQL process that works in ``data_dir``.

    Where the working directory cannot be read (another account's process) its name has to do.
    """
    _reap(pid)
    if not _PROC.joinpath("self", "stat").exists():
        return _is_running_by_ps(pid)
    return _is_live_postgres(pid) and _works_in(pid, data_dir, unknown=True)


def processes_of(data_dir: Path) -> list[int]:
    """Return all live PostgreSQL processes that work in ``data_dir``, the postmaster and its children."""
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()] if _PROC.is_dir() else []
    return [pid for pid in pids if _is_live_postgres(pid) and _works_in(pid, data_dir, unknown=False)]


def end_orphans(data_dir: Path, *, patience: timedelta) -> bool:
    """End the children of a postmaster that was killed, and return whether all are gone.

    A child in a long computation notices the loss late, and until then it may still write: no new server
    may start beside it. Its transaction is lost in any case. Call it only when no postmaster runs.
    """
    deadline = time.monotonic() + patience.total_seconds()
    while orphans := processes_of(data_dir):
        if time.monotonic() > deadline:
            return False
        for pid in orphans:
            send(pid, signal.SIGQUIT)
        time.sleep(_POLL_SECONDS)
    return True


def wait_until_gone(pid: int, data_dir: Path, *, patience: timedelta) -> bool:
    """Return whether the process ended within ``patience``."""
    deadline = time.monotonic() + patience.total_seconds()
    while is_running(pid, data_dir):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that ended meanwhile is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _reap(pid: int) -> None:
    """Collect our own child if it ended, or it would stay a zombie as long as we live."""
    if pid not in _started_here:
        return
    try:
        finished, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        finished = pid
    if finished:
        _started_here.discard(pid)


def _is_live_postgres(pid: int) -> bool:
    try:
        text = _PROC.joinpath(str(pid), "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    name = text[text.index("(") + 1 : text.rindex(")")]
    state = text[text.rindex(")") + 2]
    return name.startswith("postgres") and state not in "ZXx"


def _works_in(pid: int, data_dir: Path, *, unknown: bool) -> bool:
    try:
        return _PROC.joinpath(str(pid), "cwd").samefile(data_dir)
    except PermissionError:
        return unknown
    except (FileNotFoundError, ProcessLookupError):
        return False


def _is_running_by_ps(pid: int) -> bool:
    result = subprocess.run(
        ["/bin/ps", "-o", "stat=,comm=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, name = result.stdout.strip().partition(" ")
    return "postgres" in name and not state.startswith("Z")
