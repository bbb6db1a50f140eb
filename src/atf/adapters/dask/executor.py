"""An executor over a Dask cluster: each run is a task, and each task a supervised child process.

It uses the client's own ``submit``, not ``Client.get_executor()``: the futures of that one cannot be cancelled
once they are there, and its client connects on the caller's thread, which is the event loop here.
"""

from __future__ import annotations

import asyncio
import atexit
from concurrent.futures import Future, wait
from contextlib import suppress
from datetime import timedelta
from threading import Lock, Thread
from typing import Any, Final
from uuid import uuid4

import distributed
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from atf.adapters.dask.supervised_run import request_of, result_of, run_supervised
from atf.adapters.processes.computation_executor import LONGEST_RUNTIME, ComputationExecutor
from atf.adapters.processes.limits import RunLimits
from atf.jobs.child_run import ChildDied, Computation

_CONNECT_SECONDS: Final = 10.0
_LETTING_GO_SECONDS: Final = 5.0


class DaskExecutor(ComputationExecutor):
    """Has functions called on the Dask cluster whose scheduler is at ``address``, such as "tcp://host:8786".

    It connects with the first run, and again after the scheduler was away. A run whose Dask worker is lost is
    done again on another one, by Dask; if none brings it to an end within ``max_runtime`` and ``patience``
    together, it ends as ChildDied. A cancelled future ends at once, its child process a moment later. The Dask
    workers need this package, the plug-ins, and no secrets.
    """

    def __init__(
        self,
        address: str,
        *,
        limits: RunLimits | None = None,
        patience: timedelta = timedelta(minutes=5),
        max_runtime: timedelta = LONGEST_RUNTIME,
    ) -> None:
        super().__init__(max_runtime)
        self._address = address
        self._limits = limits or RunLimits()
        self._patience = patience
        self._lock = Lock()
        self._futures: set[Future[dict[str, Any]]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._client: distributed.Client | None = None
        self._connecting = asyncio.Lock()
        self._is_shut_down = False

    def compute(self, computation: Computation) -> Future[dict[str, Any]]:
        """Have the named function called by the next free Dask worker; never blocks.

        Errors: RuntimeError after ``shutdown``; PermanentFailure if the document is not JSON. The future's:
                HandlerFailed, RunTimedOut, ChildDied.
        """
        request = request_of(computation, self._limits)
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            running = self._run(request, computation.max_runtime + self._patience)
            future = asyncio.run_coroutine_threadsafe(running, self._running_loop())
            self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = Thread(target=self._loop.run_forever, name="dask-client", daemon=True)
            self._thread.start()
            atexit.register(self._end_at_exit)
        return self._loop

    async def _run(self, request: str, longest: timedelta) -> dict[str, Any]:
        """Errors: those of the run; ChildDied if the cluster lost it."""
        if (own := asyncio.current_task()) is not None:
            self._tasks.add(own)
            own.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(longest.total_seconds()):
                return result_of(await self._answer(request))
        except TimeoutError as exc:
            seconds = f"{longest.total_seconds():g} s"
            raise ChildDied(f"no worker of the Dask cluster brought the run to an end within {seconds}") from exc

    async def _answer(self, request: str) -> str:
        client = await self._connected()
        key = f"atf-run-{uuid4().hex}"
        task = client.submit(run_supervised, request, key=key, pure=False)
        try:
            answer: str = await task
        except KilledWorker as exc:
            raise ChildDied("the Dask workers that had the run died, one after the other") from exc
        except FutureCancelledError as exc:
            raise ChildDied(f"the Dask cluster lost the run: {exc}") from exc
        finally:
            if not task.done():
                with suppress(OSError, TimeoutError):
                    await asyncio.wait_for(task.cancel(), _LETTING_GO_SECONDS)
            task.release()
        return answer

    async def _connected(self) -> distributed.Client:
        """Return the client. Errors: ChildDied, which is tried again, while the scheduler does not answer."""
        async with self._connecting:
            if self._client is None or self._client.status in ("closing", "closed"):
                try:
                    self._client = await distributed.Client(
                        self._address, asynchronous=True, set_as_default=False, timeout=_CONNECT_SECONDS
                    )
                except OSError as exc:
                    raise ChildDied(f"the Dask scheduler at {self._address} does not answer: {exc}") from exc
            return self._client

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more runs; end those that were taken, or cancel all of them; free everything.

        Dask knows no difference between a run that waits and one that goes on, so ``cancel_futures`` means both.
        Without ``wait`` this is left to the end of the process.
        """
        with self._lock:
            self._is_shut_down = True
            futures = tuple(self._futures)
        if cancel_futures:
            for future in futures:
                future.cancel()
        if wait:
            self._close(futures)

    def _close(self, futures: tuple[Future[dict[str, Any]], ...]) -> None:
        wait(futures)
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._let_go(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()
            atexit.unregister(self._end_at_exit)

    async def _let_go(self) -> None:
        """Wait for cancelled runs to tell the cluster, then hang up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LETTING_GO_SECONDS)
        if self._client is not None:
            await self._client.close()

    def _end_at_exit(self) -> None:
        self.shutdown(cancel_futures=True)
