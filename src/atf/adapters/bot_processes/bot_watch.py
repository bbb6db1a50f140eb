"""What each bot takes of the machine with all that it has started, and which bots take too much.

The kernel limits the memory of each process; what a bot's processes take together, and how long they compute, is
for somebody beside them to see. What they say of themselves does not count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from atf.adapters.processes.process_table import Process, ProcessTable, shared_out_memory
from atf.trading.bot_process import ProcessLimits

_MINUTE: Final = 60.0
_SAMPLE_SECONDS: Final = 2.0
_ROUNDING_SECONDS: Final = 0.1
"""What ticks and the moments of looking may differ: one that computes all the time has not more than a minute."""
_MIB: Final = 2**20
Trees = Mapping[int, Sequence[Process]]
"""Bots by their processes' ids, each with its own process and all that this has started."""


@dataclass(slots=True)
class _Watched:
    """``computed``: seconds of a processor so far. ``samples``: when it was how much, in the last minute."""

    limits: ProcessLimits
    samples: deque[tuple[float, float]]
    computed: float = 0.0
    seen: float = 0.0


class BotWatch:
    """The bots of one zygote, by the ids of their processes."""

    def __init__(self) -> None:
        self._bots: dict[int, _Watched] = {}

    def begin(self, pid: int, limits: ProcessLimits, now: float) -> None:
        """Watch a bot that has just been started."""
        self._bots[pid] = _Watched(limits, deque([(now, 0.0)]))

    def end(self, pid: int) -> None:
        """Watch a bot no more."""
        self._bots.pop(pid, None)

    def trees(self, table: ProcessTable) -> Trees:
        """Return each bot with all that it has started; ``table`` with those that have ended."""
        return _trees(table, self._bots)

    def judge(self, trees: Trees, now: float) -> Mapping[int, str]:
        """Return the bots that take too much, each with a sentence that says of what.

        Units: ``now`` in seconds of any clock that goes on evenly.
        """
        found = {}
        for pid, members in trees.items():
            problem = _problem(self._bots[pid], members, now)
            if problem is not None:
                found[pid] = problem
        return found


def _trees(table: ProcessTable, roots: Iterable[int]) -> Trees:
    """Return each root with all its descendants.

    Who lost its parent has another one: a bot collects what its processes leave behind.
    """
    owner: dict[int, int | None] = {pid: pid for pid in roots}
    trees: dict[int, list[Process]] = {pid: [] for pid in owner}
    for process in table.values():
        way, pid = [], process.pid
        while pid not in owner and pid in table:
            way.append(pid)
            pid = table[pid].parent
        root = owner.get(pid)
        owner.update(dict.fromkeys(way, root))
        if root is not None:
            trees[root].append(process)
    return trees


def _problem(bot: _Watched, members: Sequence[Process], now: float) -> str | None:
    living = [one for one in members if not one.has_ended]
    limits = bot.limits
    if _computed_lately(bot, members, now) > limits.cpu_seconds_per_minute + _ROUNDING_SECONDS:
        most = f"{limits.cpu_seconds_per_minute:g}"
        return f"the strategy took more than {most} s of a processor in a minute (limits.cpu_seconds_per_minute)"
    if len(living) > limits.processes:
        most = f"{limits.processes}"
        return f"the strategy has more than {most} processes, its own among them (limits.processes)"
    if _is_over_memory(living, limits.memory_bytes):
        most = f"{limits.memory_bytes // _MIB}"
        return f"the strategy and what it has started took more than {most} MiB together (limits.memory_mib)"
    return None


def _computed_lately(bot: _Watched, members: Sequence[Process], now: float) -> float:
    """Return for how many seconds a bot's processes have computed in the last minute, those that ended included.

    A process takes over the time of its ended children when it notices their end. Of one whose end nobody wants
    to notice the time is lost, which takes nothing from what was counted before.
    """
    seen = sum(one.cpu_seconds for one in members)
    bot.computed += max(0.0, seen - bot.seen)
    bot.seen = seen
    if now - bot.samples[-1][0] >= _SAMPLE_SECONDS:
        bot.samples.append((now, bot.computed))
    while bot.samples[0][0] < now - _MINUTE:
        bot.samples.popleft()
    return bot.computed - bot.samples[0][1]


def _is_over_memory(living: Sequence[Process], most: int) -> bool:
    """Of one process alone the kernel takes care. What several share is looked at only if it may matter."""
    if len(living) < 2 or sum(one.resident for one in living) <= most:
        return False
    return shared_out_memory(living) > most
