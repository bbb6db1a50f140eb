"""The scheduler process with a worker in it, for those who want one process less."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from atf.bootstrap.duties import WorkerOptions
from atf.bootstrap.scheduler import scheduler_process
from atf.bootstrap.worker import worker_process
from atf.jobs.run import JobType
from atf.lifecycle import Progress, Service, ServiceGroup
from atf.settings import Settings

_TYPES: Final = (str(JobType.ALERT), str(JobType.NOTIFICATION))
"""What mostly waits. Anything else would keep the timer waiting, and belongs into a worker process."""


@asynccontextmanager
async def scheduler_with_worker(settings: Settings, progress: Progress) -> AsyncIterator[Service]:
    """Open a scheduler, and a worker for alerts and notifications, in one process and one event loop."""
    options = WorkerOptions("scheduler", _TYPES)
    async with (
        scheduler_process(settings, progress) as scheduler,
        worker_process(settings, Progress(), options=options) as worker,
    ):
        yield ServiceGroup("scheduler", [scheduler, worker])
