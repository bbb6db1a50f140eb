"""Who stands back when the processors are wanted: bots behind the service, and what bots start behind everybody.

Niceness alone does not do that. Where Linux groups processes by sessions (autogroup), it weighs the groups
against each other, and niceness counts within a group only: the group has a niceness of its own, and each new
session begins a group of the usual weight. All bots are in the zygote's group, so that a hundred of them that
want to compute weigh as much as one other program, and not a hundred times that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from atf.adapters.processes.process_table import Process

BOT: Final = 5
"""Niceness of a bot: it yields to the service that feeds it, and to people's commands."""
_LAST: Final = 19


def stand_back() -> None:
    """Let this process, and all that it starts, compute only when nobody else wants to."""
    _stand_back(0)


def _stand_back(pid: int) -> None:
    with suppress(OSError):  # it has ended, or the system knows no such policy
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


class Priorities:
    """Remembers who has been told; told once, a process keeps to it until it begins another session."""

    def __init__(self) -> None:
        self._session = os.getsid(0)
        self._told: set[tuple[int, int, int]] = set()

    def settle(self, trees: Mapping[int, Sequence[Process]]) -> bool:
        """Tell the bots of these process ids, and what they have started; return whether anybody is new.

        The kernel lets a plain user change few groups at a time: who has to wait is told at the next look.
        """
        seen, before = set(), len(self._told)
        for bot, members in trees.items():
            for one in members:
                key = one.pid, one.started, one.session
                seen.add(key)
                if key not in self._told and self._tell(one, bot):
                    self._told.add(key)
        has_news = len(self._told) > before
        self._told &= seen
        return has_news

    def _tell(self, process: Process, bot: int) -> bool:
        """Return whether there is nothing left to tell."""
        if process.pid != bot:
            _stand_back(process.pid)
        return process.session == self._session or _set_group(process.pid, _LAST)


def _set_group(pid: int, niceness: int) -> bool:
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness), "ascii")
    except BlockingIOError:
        return False
    except OSError:
        return True  # it has ended, or there are no groups here
    return True
