"""The program that outlives a killed worker for a moment, to kill what the worker's runs have started.

The worker holds the other end of its standard input and names the sessions of its children there, as "+1234" and
"-1234". When the input ends, however the worker did, what is left of these sessions, their descendants and
whatever bears the worker's mark is killed, and the scratch folder is removed. A child could not do this for
itself: a run may hold the interpreter, and what a run has started must die after the run.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import Final

from atf.adapters.processes.process_table import living_processes, marked, members_of

_LONGEST_SECONDS: Final = 30.0


def main() -> None:
    """Wait for the worker's end, then clear up. Arguments: the mark, the scratch folder."""
    mark, scratch = sys.argv[1:3]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when the worker has ended, not before
    sessions = _sessions_at_the_end()
    _kill_all(sessions, mark)
    _remove(scratch)


def _sessions_at_the_end() -> set[int]:
    sessions: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        (sessions.add if line[0] == "+" else sessions.discard)(pid)
    return sessions


def _kill_all(sessions: set[int], mark: str) -> None:
    """Kill until a look around finds nothing more, as something may have been started meanwhile."""
    for pid in sessions:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    give_up_at = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < give_up_at:
        table = living_processes()
        found = members_of(table, sessions | marked(table, mark).keys())
        found.pop(os.getpid(), None)
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)  # a killed process needs a moment to go


def _remove(scratch: str) -> None:
    import shutil  # only now: it costs more to load than all else here

    shutil.rmtree(scratch, ignore_errors=True)
