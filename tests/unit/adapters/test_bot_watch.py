"""A bot that takes more of the machine than it may is found, whatever its processes say or hide."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atf.adapters.bot_processes.bot_watch import BotWatch
from atf.adapters.processes.process_table import Process
from atf.trading.bot_process import ProcessLimits

ZYGOTE, BOT, OTHER = 1, 10, 20
LIMITS = ProcessLimits(memory_bytes=100, cpu_seconds_per_minute=6, processes=3)


class _Machine:
    """Processes that a test starts, lets compute and ends; all bots are watched from time zero on."""

    def __init__(self, limits: ProcessLimits = LIMITS) -> None:
        self.table = {ZYGOTE: _process(ZYGOTE, 0)}
        self.watch = BotWatch()
        for bot in (BOT, OTHER):
            self.watch.begin(bot, limits, 0.0)
            self.start(bot, ZYGOTE)

    def start(self, pid: int, parent: int, resident: int = 10) -> None:
        self.table[pid] = _process(pid, parent, resident)

    def compute(self, pid: int, seconds: float) -> None:
        self.table[pid] = self.table[pid]._replace(cpu_seconds=self.table[pid].cpu_seconds + seconds)

    def end(self, pid: int, *, noticed: bool) -> None:
        """``noticed``: by its parent, to whom the time it took goes over."""
        ended = self.table.pop(pid)
        if noticed:
            self.compute(ended.parent, ended.cpu_seconds)
        else:
            self.table[pid] = ended._replace(has_ended=True, resident=0)

    def look(self, now: float) -> dict[int, str]:
        return dict(self.watch.judge(self.watch.trees(self.table), now))


def _process(pid: int, parent: int, resident: int = 10) -> Process:
    return Process(pid, parent, pid, 0, resident, 0.0)


OVER_TIME = "the strategy took more than 6 s of a processor in a minute (limits.cpu_seconds_per_minute)"


def test_a_bot_may_take_all_its_seconds_at_once_and_again_a_minute_later() -> None:
    machine = _Machine()
    for second in range(1, 127):
        machine.compute(BOT, 6 if second in {1, 63, 126} else 0)
        assert machine.look(second) == {}
    machine.compute(BOT, 0.2)
    assert machine.look(127) == {BOT: OVER_TIME}


def test_one_that_computes_all_the_time_has_no_more_than_a_minute() -> None:
    machine = _Machine(replace(LIMITS, cpu_seconds_per_minute=60))
    for second in range(1, 300):
        machine.compute(BOT, 1)
        assert machine.look(second + 0.05) == {}


def test_little_by_little_is_too_much_as_well() -> None:
    machine = _Machine()
    for second in range(1, 61):
        machine.compute(BOT, 0.11)
        found = machine.look(second)
        assert found == ({BOT: OVER_TIME} if second * 0.11 > 6.1 else {})


@pytest.mark.parametrize("noticed", [True, False])
def test_what_a_bot_has_started_takes_of_its_time_also_when_it_has_ended(noticed: bool) -> None:
    machine = _Machine()
    for second in range(1, 5):
        pid = 100 * second
        machine.start(pid, BOT)
        machine.start(pid + 1, pid)
        machine.compute(pid, 0.5)
        machine.compute(pid + 1, 0.4)
        assert machine.look(second) == {}
        machine.compute(pid + 1, 0.4)
        machine.end(pid + 1, noticed=noticed)
        machine.end(pid, noticed=noticed)
        assert machine.look(second + 0.5) == {}
    machine.compute(BOT, 1)
    assert machine.look(6) == {BOT: OVER_TIME}


def test_time_that_is_lost_with_a_process_counts_once() -> None:
    machine = _Machine()
    machine.start(100, BOT)
    machine.compute(100, 4)
    machine.look(1)
    del machine.table[100]  # nobody wanted to notice its end
    machine.look(2)
    machine.compute(BOT, 2)
    assert machine.look(3) == {}
    machine.compute(BOT, 0.2)
    assert machine.look(4) == {BOT: OVER_TIME}


def test_more_processes_than_may_be_are_too_many_and_those_that_ended_do_not_count() -> None:
    machine = _Machine()
    machine.start(100, BOT)
    machine.start(101, 100)
    assert machine.look(1) == {}
    machine.start(102, 101)
    assert machine.look(2) == {
        BOT: "the strategy has more than 3 processes, its own among them (limits.processes)"
    }
    machine.end(102, noticed=False)
    assert machine.look(3) == {}


def test_memory_of_many_counts_together_and_that_of_one_is_the_kernels_business() -> None:
    machine = _Machine()
    machine.start(BOT, ZYGOTE, resident=200)
    assert machine.look(1) == {}
    machine.start(100, BOT, resident=60)
    found = machine.look(2)[BOT]
    assert found == "the strategy and what it has started took more than 0 MiB together (limits.memory_mib)"


def test_who_is_watched_no_more_is_not_found() -> None:
    machine = _Machine()
    machine.compute(BOT, 100)
    machine.compute(OTHER, 100)
    machine.watch.end(BOT)
    machine.watch.end(BOT)
    assert machine.look(1) == {OTHER: OVER_TIME}
