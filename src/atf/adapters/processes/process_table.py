"""Which processes there are, and which of them belong to a run: Linux's /proc; elsewhere nothing is known.

A run's processes are found by their session, by their parents, and by a mark in the environment that they began
with: one that began a session of its own and lost its parent still has the mark.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

MARK_VARIABLE: Final = "JOB_RUN_MARK"
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """A process of this moment.

    Units: ``started`` in clock ticks since boot, ``resident`` in bytes, ``cpu_seconds`` with those of its ended
    children that it has noticed. ``has_ended``: it is still there only until its parent notices.
    """

    pid: int
    parent: int
    session: int
    started: int
    resident: int
    cpu_seconds: float
    has_ended: bool = False

    @property
    def identity(self) -> tuple[int, int]:
        """What no later process has, even if it gets the same pid."""
        return self.pid, self.started


ProcessTable = dict[int, Process]


def living_processes() -> ProcessTable:
    """Return all processes that live; those that have ended and wait for their parent to notice are left out."""
    return {process.pid: process for process in all_processes().values() if not process.has_ended}


def all_processes() -> ProcessTable:
    """Return all processes, also those that have ended and wait for their parent to notice."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - many times a second; a Path a process costs more than the rest
    except FileNotFoundError:
        return {}
    found = (_process(int(name)) for name in names if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def _process(pid: int) -> Process | None:
    stat = _read(f"/proc/{pid}/stat")
    fields = stat[stat.rfind(b")") + 2 :].split()  # the name before may hold anything, spaces and brackets too
    if len(fields) < 22:
        return None
    return Process(
        pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        started=int(fields[19]),
        resident=int(fields[21]) * _PAGE,
        cpu_seconds=sum(map(int, fields[11:15])) / _TICKS,
        has_ended=fields[0] in b"ZXx",
    )


def _read(path: str) -> bytes:
    """Return what a file of /proc holds; nothing if the process has ended or is not ours to look at."""
    with suppress(OSError), open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
        return file.read()
    return b""


def threads_of_the_machine() -> int:
    """Return how many threads all processes have together, which is cheap to know; 0 if it is not known."""
    _, _, running = _read("/proc/loadavg").partition(b"/")
    return int(running.split()[0]) if running else 0


def members_of(table: ProcessTable, leaders: Iterable[int]) -> ProcessTable:
    """Return those of the table that are in the leaders' sessions, and all their descendants."""
    wanted = set(leaders)
    members = {pid: one for pid, one in table.items() if pid in wanted or one.session in wanted}
    children: dict[int, list[Process]] = {}
    for one in table.values():
        children.setdefault(one.parent, []).append(one)
    pending = list(members)
    while pending:
        for child in children.get(pending.pop(), ()):
            if child.pid not in members:
                members[child.pid] = child
                pending.append(child.pid)
    return members


def marked(table: ProcessTable, mark: str, *, since: int = 0) -> ProcessTable:
    """Return those whose environment began with a mark that starts so; ``since`` (ticks) leaves out older."""
    wanted = f"\0{MARK_VARIABLE}={mark}".encode()
    recent = (one for one in table.values() if one.started >= since)
    return {one.pid: one for one in recent if wanted in b"\0" + _read(f"/proc/{one.pid}/environ")}


def started_at(pid: int) -> int:
    """Return when a process began, in clock ticks since boot; 0 if it is not known."""
    process = _process(pid)
    return process.started if process is not None and not process.has_ended else 0


def shared_out_memory(processes: Iterable[Process]) -> int:
    """Return what processes have in memory, in bytes; pages that several of them share count once."""
    return sum(_own_share(one) for one in processes)


def _own_share(process: Process) -> int:
    for line in _read(f"/proc/{process.pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return process.resident
