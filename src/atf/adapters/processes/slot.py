"""A child process with the run that it does: told to stop, killed, and over only when nothing is left of it."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from atf.adapters.processes.child_process import ChildProcess
from atf.adapters.processes.frames import FrameTooLong
from atf.adapters.processes.limits import MIB, RunLimits
from atf.adapters.processes.process_table import Process, ProcessTable, living_processes, shared_out_memory
from atf.adapters.processes.run_future import Outcome, RunFuture
from atf.jobs.child_run import ChildDied, HandlerFailed, RunQuota, RunTimedOut

_LOGGER = logging.getLogger(__name__)
_GIVE_UP_SECONDS: Final = 10.0
"""A process that the kernel does not let go for so long (on a dead disk) is left behind."""


_LAST_MOMENT_SECONDS: Final = 0.5
KILL_SECONDS: Final = 0.01
"""A killed process needs a moment to go; then it is looked for again."""


class Phase(Enum):
    """What a child is about."""

    IDLE = auto()
    BUSY = auto()
    STOPPING = auto()
    DYING = auto()


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A run that waits for a process. Units: seconds."""

    name: str
    request: bytes
    max_seconds: float
    future: RunFuture
    quota: RunQuota


class Slot:
    """One child and at most one run at a time. Times are of the monotonic clock."""

    def __init__(self, child: ChildProcess, limits: RunLimits, most_runs: int) -> None:
        self.child: Final = child
        self.phase = Phase.IDLE
        self._limits = limits
        self._runs_left = most_runs
        self._run: QueuedRun | None = None
        self._cpu_before = 0.0
        self._outcome: Outcome | None = None
        self.deadline_at = float("inf")
        self._look_again_at = 0.0
        self.is_deaf = False

    def begin(self, run: QueuedRun) -> None:
        """Hand a run to the idle child."""
        self._run = run
        self._runs_left -= 1
        self.phase = Phase.BUSY
        self.deadline_at = time.monotonic() + run.max_seconds
        if run.quota.cpu_seconds is not None:  # the child has done other runs before
            self._cpu_before = _cpu_seconds(self.child.members(living_processes()))
        self.child.request(run.request)

    def read(self) -> None:
        """Take what has come from the child: an answer, or its end."""
        try:
            frames = self.child.receive()
            if frames is None:
                self.hang_up()
            for frame in frames or ():
                self._take(frame)
        except (FrameTooLong, ValueError, LookupError, TypeError):  # the run has written where it should not
            self._kill_for("what it sent is no answer")

    def _take(self, frame: bytes) -> None:
        if self.phase is not Phase.BUSY or self._run is None:
            self.kill()  # it should have stopped, or has answered already
            return
        answer = json.loads(frame)
        outcome = _outcome_of(answer)
        if written := self.child.tail:
            _LOGGER.info("%s wrote: %s", self._run.name, written)
        if answer["is_spent"]:
            self._outcome = outcome
            self.kill()
            return
        self.phase, self.deadline_at = Phase.IDLE, float("inf")
        run, self._run = self._run, None
        if self._runs_left <= 0:
            self.kill()
        run.future.end(outcome)

    def hang_up(self) -> None:
        """Listen no more; the child is given a moment to end by itself, because then it is known how."""
        self.is_deaf = True
        if self.phase in (Phase.IDLE, Phase.BUSY):
            self.phase = Phase.BUSY
            self.deadline_at = min(self.deadline_at, time.monotonic() + _LAST_MOMENT_SECONDS)

    def child_ended(self) -> None:
        """Note that the child has ended or hung up; whatever it has started is killed."""
        if self.phase is Phase.DYING:
            return
        if self.phase is not Phase.STOPPING and self._outcome is None:
            self._outcome = ChildDied(f"the child process died: {self.child.exit_text}", output=self.child.tail)
        self.kill()

    def on_time(self, now: float) -> None:
        """Do what is due: stop a run that took too long or is not wanted any more, kill what did not stop."""
        if self.phase is Phase.BUSY and self._run is not None and self._run.future.is_stop_wanted:
            self._stop(RunTimedOut("cancelled"))
        elif now < self.deadline_at:
            return
        elif self.phase is Phase.BUSY and self.is_deaf:
            self.child_ended()
        elif self.phase is Phase.BUSY and self._run is not None:
            self._stop(RunTimedOut(f"took longer than {self._run.max_seconds:g} s"))
        elif self.phase is Phase.STOPPING:
            self.kill()

    def _stop(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self.phase = Phase.STOPPING
        self.deadline_at = time.monotonic() + self._limits.grace_seconds
        self.child.signal(signal.SIGTERM, self.child.members(living_processes()))

    def kill(self) -> None:
        """Begin to kill the child with all that it has started."""
        if self.phase is not Phase.DYING:
            self.phase = Phase.DYING
            self.deadline_at = time.monotonic() + _GIVE_UP_SECONDS
            self.child.signal(signal.SIGKILL, self.child.strays(living_processes()))

    def is_gone(self) -> bool:
        """Kill what still lives of a dying child; True if nothing does."""
        if time.monotonic() < self._look_again_at:
            return False
        self._look_again_at = time.monotonic() + KILL_SECONDS
        members = self.child.strays(living_processes())
        if not members and self.child.has_ended:
            return True
        if time.monotonic() > self.deadline_at:
            _LOGGER.error("processes that cannot be killed are left behind: %s", [one.pid for one in members])
            return self.child.has_ended
        self.child.signal(signal.SIGKILL, members)
        return False

    def close(self) -> None:
        """Free the child, which is gone, and say what became of its run."""
        self.child.close()
        if self._run is not None:
            self._run.future.end(self._outcome or ChildDied("the executor was shut down"))

    def watch(self, table: ProcessTable) -> None:
        """Kill the run if its processes together take more than they may."""
        members = self.child.members(table)
        if self.phase is Phase.DYING:
            return
        if len(members) > self._limits.processes:
            self._kill_for(f"process limit of {self._limits.processes}")
        elif self._is_over_memory(members):
            self._kill_for(f"memory limit of {self._most_memory() // MIB} MiB")
        elif self._is_over_time(members):
            self._kill_for(f"limit of {self._quota.cpu_seconds:g} s of a processor")

    @property
    def _quota(self) -> RunQuota:
        return RunQuota() if self._run is None else self._run.quota

    def _most_memory(self) -> int:
        return min(self._limits.memory_bytes, self._quota.memory_bytes or self._limits.memory_bytes)

    def _is_over_time(self, members: Sequence[Process]) -> bool:
        most = self._quota.cpu_seconds
        return most is not None and _cpu_seconds(members) - self._cpu_before > most

    def _is_over_memory(self, members: Sequence[Process]) -> bool:
        """Pages that processes share are in the figure of each: their sum is a reason to look closer, no more."""
        most = self._most_memory()
        return sum(one.resident for one in members) > most and shared_out_memory(members) > most

    def _kill_for(self, reason: str) -> None:
        if self.phase is Phase.BUSY:
            self._outcome = ChildDied(f"the child process was killed: {reason}", output=self.child.tail)
        self.kill()


def _cpu_seconds(members: Sequence[Process]) -> float:
    return sum(one.cpu_seconds for one in members)


def _outcome_of(answer: dict[str, Any]) -> Outcome:
    if "error" not in answer:
        result: dict[str, Any] = answer["result"]
        return result
    error = answer["error"]
    return HandlerFailed(
        error["type"],
        error["message"],
        remote_traceback=error["traceback"],
        is_permanent=error["is_permanent"],
        retry_after_seconds=error["retry_after_seconds"],
    )
