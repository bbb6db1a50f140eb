"""The program that forks bots' processes: it has loaded what they all need, once, and has one thread.

It is started before it could inherit anything, waits on one socket for orders, and tells on it which bot ended
how. When the socket ends, however the service did, it kills all bots with all that they have started, and ends.
Its own death kills the bots, too: each has asked the kernel for that. What bots take of the machine is looked
at here: outside of the bots, and outside of the service, which has bars to hand out.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any, Final

from atf.adapters.bot_processes.bot_watch import BotWatch
from atf.adapters.bot_processes.kernel import collect_orphans, mark_descendants
from atf.adapters.bot_processes.preloading import BecomeBot, preload
from atf.adapters.bot_processes.priorities import Priorities
from atf.adapters.processes.process_table import (
    all_processes,
    living_processes,
    members_of,
    threads_of_the_machine,
)
from atf.trading.bot_process import ProcessLimits

LONGEST_ORDER: Final = 65_536
_GIVE_UP_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS: Final = 0.002
_WATCH_SECONDS: Final = 2.0
_GLANCE_SECONDS: Final = 0.1
_MANY_MORE: Final = 4
"""So many more threads on the machine than at the last look are a reason to look now."""
_SHARE_OF_A_CORE: Final = 0.05
"""What watching may take at most, on a machine with very many processes."""


def main() -> None:
    """Serve the service on the file descriptor that the first argument names, until it hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when the service has ended, not before
    setup = json.loads(control.recv(LONGEST_ORDER) or b"null")
    if setup is None:
        return
    sys.path[:] = setup["path"]
    mark_descendants(setup["mark"])
    collect_orphans()  # what a dead bot has started becomes a child of this process, and is found by that
    become_bot = preload()
    gc.collect()
    gc.freeze()
    zygote = _Zygote(control, become_bot)
    try:
        zygote.serve()
    finally:
        zygote.end_all()
        _remove(setup["scratch"])


def _remove(scratch: str) -> None:
    import shutil  # only now: bots need not carry it

    shutil.rmtree(scratch, ignore_errors=True)


class _Zygote:
    def __init__(self, control: socket.socket, become_bot: BecomeBot) -> None:
        self._control = control
        self._become_bot = become_bot
        self._bots: set[int] = set()
        self._watch = BotWatch()
        self._priorities = Priorities()
        self._watch_at = 0.0
        self._not_before = 0.0
        self._threads = 0
        self._reasons: dict[int, str] = {}
        self._bell, bell = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(bell, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Do what the service says, until it says nothing more."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(self._patience())}
            if self._bell in ready:
                with suppress(BlockingIOError):
                    os.read(self._bell, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                return
            if self._bots and self._is_time_to_look():
                self._look()

    def _patience(self) -> float | None:
        """Return for how many milliseconds nobody need look around; None while there is nothing to watch."""
        return _GLANCE_SECONDS * 1000 if self._bots else None

    def _is_time_to_look(self) -> bool:
        """Whether it was long ago, or many processes have been started since."""
        now = time.monotonic()
        return now >= self._watch_at or (
            now >= self._not_before and threads_of_the_machine() > self._threads + _MANY_MORE
        )

    def _look(self) -> None:
        """Kill the bots that take too much, and see to it that all stand back for those who come first."""
        began, cpu = time.monotonic(), time.process_time()
        trees = self._watch.trees(all_processes())
        for pid, reason in self._watch.judge(trees, began).items():
            self._reasons[pid] = reason
            self._kill(pid)
        has_news = self._priorities.settle(trees)
        self._threads = threads_of_the_machine()
        now = time.monotonic()
        self._not_before = now + (time.process_time() - cpu) / _SHARE_OF_A_CORE
        # Who starts processes may not be done with it.
        self._watch_at = max(self._not_before, now + (_GLANCE_SECONDS if has_news else _WATCH_SECONDS))

    def _obey(self) -> bool:
        """Do one thing; False if the service is gone."""
        try:
            body, descriptors, _, _ = socket.recv_fds(self._control, LONGEST_ORDER, 1)
        except OSError:
            return False
        if not body:
            return False
        order = json.loads(body)
        match order["do"]:
            case "spawn":
                self._spawn(order, descriptors[0])
            case "kill":
                self._kill(order["pid"])
        return True

    def _spawn(self, order: dict[str, Any], channel: int) -> None:
        threads = os.listdir("/proc/self/task")  # noqa: PTH208 - before each fork
        if len(threads) != 1:
            raise RuntimeError(f"{len(threads)} threads where a fork is safe with one only")
        own = os.getpid()
        try:
            pid = os.fork()
        except OSError as exc:
            os.close(channel)
            self._tell({"told": "refused", "number": order["number"], "why": str(exc)})
            return
        limits = ProcessLimits(**order["limits"])
        if pid == 0:
            self._become_bot(own, channel, limits.memory_bytes)
        os.close(channel)
        self._bots.add(pid)
        self._watch.begin(pid, limits, time.monotonic())
        self._tell({"told": "spawned", "number": order["number"], "pid": pid})

    def _kill(self, pid: int) -> None:
        """Kill a bot; its end is told when it is reaped."""
        if pid in self._bots:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Notice who has ended; an end is told when all that the bot had started is gone as well."""
        ended: dict[int, int] = {}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._bots:
                self._bots.discard(pid)
                self._watch.end(pid)
                ended[pid] = status
        if ended:
            self._kill_strays()
        for pid, status in ended.items():
            code, killer = (
                (None, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), None)
            )
            reason = self._reasons.pop(pid, None)
            self._tell({"told": "exited", "pid": pid, "code": code, "signal": killer, "reason": reason})

    def _kill_strays(self) -> None:
        """Kill all below this process that is neither a bot nor below one.

        A bot collects its own orphans while it lives, so that what is here was left by one that is dead.
        """
        own, give_up_at = os.getpid(), time.monotonic() + _GIVE_UP_SECONDS
        while time.monotonic() < give_up_at:
            table = living_processes()
            strays = members_of(table, {own}).keys() - members_of(table, self._bots).keys() - {own}
            if not strays:
                return
            for pid in strays:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_LOOK_AGAIN_SECONDS)  # a killed process needs a moment to go

    def _tell(self, what: dict[str, Any]) -> None:
        with suppress(OSError):  # a service that is gone is noticed at the next order
            self._control.send(json.dumps(what).encode())

    def end_all(self) -> None:
        """Kill all bots and what they have started."""
        bots, self._bots = self._bots, set()
        for pid in bots:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._kill_strays()
