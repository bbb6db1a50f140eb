"""HeavyRunner: lets a heavy handler's computation be done in a process of its own, and waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from atf.jobs.child_run import Computation, HeavyExecutor
from atf.jobs.handler import HeavyHandler, Job


class HeavyRunner:
    """A ``RunHandler`` over a ``HeavyHandler``.

    The time limit is the executor's, as it counts from when a process takes the run up: ``keeps_time``.
    Cancelling ``handle`` kills the process.
    """

    keeps_time = True

    def __init__(self, handler: HeavyHandler, executor: HeavyExecutor) -> None:
        self.job_type = handler.job_type
        self._handler = handler
        self._executor = executor

    async def handle(self, job: Job) -> Mapping[str, Any]:
        """Prepare here, compute there. Errors: what the handler raises; HandlerFailed, RunTimedOut, ChildDied."""
        async with asyncio.timeout(job.max_runtime.total_seconds()):
            document = await self._handler.prepare(job)
        computation = Computation(self._handler.compute, document, job.max_runtime)
        return await asyncio.wrap_future(self._executor.compute(computation))
