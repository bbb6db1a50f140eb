"""HeavyRunner: lets a heavy handler's computation be done in a process of its own, and waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from atf.jobs.child_run import Computation, HeavyExecutor, RunQuota
from atf.jobs.handler import HeavyHandler, Job

QuotaOf = Callable[[int], Awaitable[RunQuota]]


class HeavyRunner:
    """A ``RunHandler`` over a ``HeavyHandler``; ``quota_of`` says what a run of a user may take.

    The time limit is the executor's, as it counts from when a process takes the run up: ``keeps_time``.
    Cancelling ``handle`` kills the process.
    """

    keeps_time = True

    def __init__(self, handler: HeavyHandler, executor: HeavyExecutor, quota_of: QuotaOf | None = None) -> None:
        self.job_type = handler.job_type
        self._handler = handler
        self._executor = executor
        self._quota_of = quota_of

    async def handle(self, job: Job) -> Mapping[str, Any]:
        """Prepare here, compute there. Errors: what the handler raises; HandlerFailed, RunTimedOut, ChildDied."""
        async with asyncio.timeout(job.max_runtime.total_seconds()):
            document = await self._handler.prepare(job)
            quota = await self._quota(job)
        computation = Computation(self._handler.compute, document, job.max_runtime, quota)
        return await asyncio.wrap_future(self._executor.compute(computation))

    async def _quota(self, job: Job) -> RunQuota:
        if self._quota_of is None or job.user_id is None:
            return RunQuota()
        return await self._quota_of(job.user_id)
