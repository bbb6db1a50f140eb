"""An executor whose runs are child processes: limited, watched, and killed with all that they start."""

from __future__ import annotations

import atexit
import os
from concurrent.futures import Future
from datetime import timedelta
from threading import Lock, Thread
from typing import Any

from atf.adapters.processes.computation_executor import LONGEST_RUNTIME, ComputationExecutor
from atf.adapters.processes.documents import encoded
from atf.adapters.processes.limits import RunLimits
from atf.adapters.processes.run_future import RunFuture
from atf.adapters.processes.slot import QueuedRun
from atf.adapters.processes.supervisor import PoolSize, Supervisor
from atf.jobs.child_run import Computation


class ProcessExecutor(ComputationExecutor):
    """Calls module-level functions in child processes; argument and result are JSON objects, never pickles.

    A child starts with its first run and does ``runs_per_child`` of them, unless one ends badly: then all that it
    has started is killed and another child takes its place. A cancelled run is killed, too; its future ends when
    nothing is left of it. Children die with this process, however it ends.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        runs_per_child: int = 50,
        limits: RunLimits | None = None,
        max_runtime: timedelta = LONGEST_RUNTIME,
    ) -> None:
        super().__init__(max_runtime)
        self._limits = limits or RunLimits()
        self._size = PoolSize(max_workers or os.cpu_count() or 1, runs_per_child)
        if self._size.max_workers < 1 or runs_per_child < 1:
            raise ValueError("max_workers and runs_per_child must be at least 1")
        self._lock = Lock()
        self._supervisor: Supervisor | None = None
        self._thread: Thread | None = None
        self._is_shut_down = False

    def compute(self, computation: Computation) -> Future[dict[str, Any]]:
        """Call the named function in a child as soon as one is free; never blocks.

        Errors: RuntimeError after ``shutdown``; PermanentFailure if the document is not JSON. The future's:
                HandlerFailed, RunTimedOut, ChildDied.
        """
        request = {"compute": computation.compute, "document": dict(computation.document)}
        body = encoded(request, "the input of the run", self._limits.document_bytes)
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            supervisor = self._running_supervisor()
            future = RunFuture(supervisor.wake)
            seconds = computation.max_runtime.total_seconds()
            supervisor.add(QueuedRun(computation.compute, body, seconds, future, computation.quota))
        return future

    def _running_supervisor(self) -> Supervisor:
        if self._supervisor is None:
            self._supervisor = Supervisor(self._size, self._limits)
            # A daemon, so that a process that forgets to shut down ends nevertheless; atexit does it then.
            self._thread = Thread(target=self._supervisor.serve, name="run-supervisor", daemon=True)
            self._thread.start()
            atexit.register(self._end_at_exit)
        return self._supervisor

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more runs, end those that were taken, free everything; ``wait`` until that is done."""
        with self._lock:
            self._is_shut_down = True
            if self._supervisor is not None:
                self._supervisor.close(cancel_queued=cancel_futures)
        if wait and self._thread is not None:
            self._thread.join()
        atexit.unregister(self._end_at_exit)

    def _end_at_exit(self) -> None:
        """Kill what runs: a process that ends does not wait for what nobody will take."""
        if self._supervisor is not None:
            self._supervisor.abort()
        self.shutdown(cancel_futures=True)
