"""WorkerService: a worker under the contract of every service."""

from __future__ import annotations

from collections.abc import Callable

from atf.jobs.worker import Worker
from atf.lifecycle import Progress, Service


class WorkerService(Service):
    """Counts as started after its first round, when the queue has answered."""

    def __init__(self, worker: Worker, progress: Progress) -> None:
        super().__init__("worker")
        self._worker = worker
        self._progress = progress

    async def _serve(self, started: Callable[[], None]) -> None:
        self._progress.on_first_mark(started)
        await self._worker.run()
