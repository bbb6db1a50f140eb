"""What Linux is asked for about a process's parent, its orphans, and all that comes of it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from atf.adapters.processes.process_table import ProcessTable

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_RLIMIT_LOCKS: Final = 10
"""Limits nothing since Linux 2.4.25, and is handed down all the same, over forks and new programs."""


def die_with(parent: int) -> None:
    """Let this process be killed when its parent ends; it leaves at once if that has happened already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def collect_orphans() -> None:
    """Let what descendants leave behind become a child of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def mark_descendants(mark: int) -> None:
    """Mark this process and all that it starts, whatever session, parent or environment they give themselves.

    ``mark``: a number of 62 bits. Where an administrator limits locks there is no such mark.
    """
    with suppress(ValueError, OSError):
        resource.setrlimit(_RLIMIT_LOCKS, (mark, mark))


def bearers_of(table: ProcessTable, mark: int) -> set[int]:
    """Return those of the table that bear a mark."""
    return {pid for pid in table if _mark_of(pid) == str(mark)}


def _mark_of(pid: int) -> str | None:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/limits").read_text("ascii").splitlines():
            if line.startswith("Max file locks"):
                return line.split()[3]
    return None


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
