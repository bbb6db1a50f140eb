"""The one thread that starts, feeds, watches and kills all children of an executor."""

from __future__ import annotations

import os
import selectors
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final
from uuid import uuid4

from atf.adapters.processes.child_process import ChildProcess
from atf.adapters.processes.keeper_process import KeeperProcess
from atf.adapters.processes.limits import RunLimits
from atf.adapters.processes.process_table import living_processes
from atf.adapters.processes.slot import KILL_SECONDS, Phase, QueuedRun, Slot
from atf.jobs.child_run import ChildDied

_WATCH_SECONDS: Final = 0.25
_NO_PIDFD_SECONDS: Final = 0.05
_SHARE_OF_A_CORE: Final = 0.1
"""What watching may take at most, on a machine with very many processes."""


@dataclass(frozen=True, slots=True)
class PoolSize:
    """How many children there are at most, and how many runs each does before it is replaced."""

    max_workers: int
    runs_per_child: int


class Supervisor:
    """Owns the children. ``serve`` is its thread; everything else may be called from any."""

    def __init__(self, size: PoolSize, limits: RunLimits) -> None:
        self._size = size
        self._limits = limits
        self._queue: deque[QueuedRun] = deque()
        self._slots: list[Slot] = []
        self._selector = selectors.DefaultSelector()
        self._bell = Bell()
        self._selector.register(self._bell.ear, selectors.EVENT_READ, self._bell.silence)
        self._scratch = Path(tempfile.mkdtemp(prefix="atf-runs-"))
        self._mark = uuid4().hex
        self._started = 0
        self._keeper: KeeperProcess | None = None
        self._watch_at = 0.0
        self._is_closing = False
        self._is_aborted = False
        self._is_over = False
        self._lock = Lock()
        self.wake: Final = self._bell.ring

    def add(self, run: QueuedRun) -> None:
        """Queue a run. Errors: RuntimeError if there is no thread any more to do it."""
        with self._lock:
            if self._is_over:
                raise RuntimeError("the executor has ended by a mistake of its own; its log says which")
            self._queue.append(run)
        self.wake()

    def close(self, *, cancel_queued: bool) -> None:
        """Let ``serve`` return when all is done; what has not begun is cancelled on demand."""
        if cancel_queued:
            for run in list(self._queue):
                run.future.cancel()
        self._is_closing = True
        self.wake()

    def abort(self) -> None:
        """Let ``serve`` kill all children and return."""
        self._is_aborted = True
        self.wake()

    def serve(self) -> None:
        """Work until closed and done. Whatever happens, no child outlives this."""
        try:
            while not self._is_aborted and not self._is_done():
                self._round()
        finally:
            self._end_all()

    def _is_done(self) -> bool:
        return self._is_closing and not self._queue and not self._slots

    def _round(self) -> None:
        for key, events in self._selector.select(self._patience()):
            key.data(events)
        for slot in list(self._slots):
            slot.on_time(time.monotonic())
            if slot.phase is Phase.DYING and slot.is_gone():
                self._drop(slot)
        self._watch()
        self._dispatch()
        self._let_go_of_idle()

    def _patience(self) -> float | None:
        """Return how long nothing is due; None while there is nothing to watch."""
        phases = {slot.phase for slot in self._slots}
        if Phase.DYING in phases:
            return KILL_SECONDS
        if not phases - {Phase.IDLE}:
            return _NO_PIDFD_SECONDS if any(slot.child.ending is None for slot in self._slots) else None
        due_at = min(self._watch_at, *(slot.deadline_at for slot in self._slots))
        longest = _NO_PIDFD_SECONDS if any(slot.child.ending is None for slot in self._slots) else _WATCH_SECONDS
        return max(0.0, min(longest, due_at - time.monotonic()))

    def _watch(self) -> None:
        began = time.monotonic()
        busy = [slot for slot in self._slots if slot.phase in (Phase.BUSY, Phase.STOPPING)]
        if not busy or began < self._watch_at:
            return
        table = living_processes()
        for slot in busy:
            slot.watch(table)
        now = time.monotonic()
        self._watch_at = now + max(_WATCH_SECONDS, (now - began) / _SHARE_OF_A_CORE)

    def _dispatch(self) -> None:
        while self._queue:
            slot = self._free_slot()
            if slot is None:
                return
            run = self._queue.popleft()
            if run.future.begin():
                slot.begin(run)
                self._select(slot)

    def _free_slot(self) -> Slot | None:
        """Return an idle child's slot, or a new child's; None if all are busy or the machine gives none."""
        for slot in self._slots:
            if slot.phase is Phase.IDLE:
                return slot
        if len(self._slots) >= self._size.max_workers:
            return None
        try:
            return self._start()
        except OSError as exc:
            run = self._queue.popleft()
            if run.future.begin():
                run.future.end(ChildDied(f"no child process can be started: {exc}"))
            return None if not self._queue else self._free_slot()

    def _start(self) -> Slot:
        if self._keeper is None or self._keeper.has_ended:
            self._keeper = self._new_keeper()
        self._started += 1
        name = str(self._started)
        child = ChildProcess(self._limits, self._scratch / name, f"{self._mark}.{name}.")
        self._keeper.tell(f"+{child.pid}")
        slot = Slot(child, self._limits, self._size.runs_per_child)
        self._slots.append(slot)
        self._select(slot)
        self._selector.register(child.output, selectors.EVENT_READ, self._output_reader(child))
        if child.ending is not None:
            self._selector.register(child.ending, selectors.EVENT_READ, self._end_noter(slot))
        return slot

    def _new_keeper(self) -> KeeperProcess:
        if self._keeper is not None:
            self._keeper.close()
            self._scratch.mkdir(exist_ok=True)
        keeper = KeeperProcess(self._mark, self._scratch)
        for slot in self._slots:
            keeper.tell(f"+{slot.child.pid}")
        return keeper

    def _select(self, slot: Slot) -> None:
        """Listen to a child, and wait for room in its channel if something waits to be sent."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if slot.child.wants_to_send else 0)

        def serve(ready: int) -> None:
            if ready & selectors.EVENT_WRITE:
                slot.child.send_more()
                self._select(slot)
            if ready & selectors.EVENT_READ:
                slot.read()
            if slot.is_deaf or slot.phase is Phase.DYING:
                self._deafen(slot.child.channel.fileno())

        with suppress(KeyError):
            self._selector.unregister(slot.child.channel)
        self._selector.register(slot.child.channel, events, serve)

    def _output_reader(self, child: ChildProcess) -> Callable[[int], None]:
        def read(_: int) -> None:
            if not child.read_output():
                self._deafen(child.output)

        return read

    def _end_noter(self, slot: Slot) -> Callable[[int], None]:
        def note(_: int) -> None:
            self._deafen(slot.child.ending)
            slot.child_ended()

        return note

    def _deafen(self, descriptor: int | None) -> None:
        if descriptor is not None:
            with suppress(KeyError):
                self._selector.unregister(descriptor)

    def _drop(self, slot: Slot) -> None:
        child = slot.child
        for descriptor in (child.channel.fileno(), child.output, child.ending):
            self._deafen(descriptor)
        self._slots.remove(slot)
        if self._keeper is not None:
            self._keeper.tell(f"-{child.pid}")
        slot.close()

    def _let_go_of_idle(self) -> None:
        if self._is_closing and not self._queue:
            for slot in self._slots:
                if slot.phase is Phase.IDLE:
                    slot.kill()

    def _end_all(self) -> None:
        for slot in self._slots:
            slot.kill()
        while self._slots:
            for slot in list(self._slots):
                if slot.is_gone():
                    self._drop(slot)
            time.sleep(KILL_SECONDS)
        with self._lock:
            self._is_over = True
        while self._queue:
            self._queue.popleft().future.cancel()
        if self._keeper is not None:
            self._keeper.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._selector.close()
        self._bell.close()


class Bell:
    """Wakes a thread that waits in a selector."""

    def __init__(self) -> None:
        self.ear, self._button = os.pipe()
        os.set_blocking(self.ear, False)
        os.set_blocking(self._button, False)
        self._lock = Lock()
        self._is_closed = False

    def ring(self) -> None:
        """Wake it; from any thread, and without effect once it is closed."""
        with self._lock, suppress(BlockingIOError):
            if not self._is_closed:
                os.write(self._button, b"\0")

    def silence(self, _: int) -> None:
        """Forget the rings so far."""
        with suppress(BlockingIOError):
            while os.read(self.ear, 4096):
                pass

    def close(self) -> None:
        """Free the descriptors."""
        with self._lock:
            self._is_closed = True
            os.close(self.ear)
            os.close(self._button)
