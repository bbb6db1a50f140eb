"""Claiming as workers do it, for tests that need runs in somebody's hands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from atf.jobs.queue import Wanted
from atf.jobs.run import ClaimedRun, WorkerId
from atf.storage.run_queue import PostgresRunQueue

RUNTIME = timedelta(minutes=5)


async def take(
    queue: PostgresRunQueue, worker_id: WorkerId, limit: int, *types: str, is_batch: bool = True
) -> Sequence[ClaimedRun]:
    """Claim up to ``limit`` runs of each type; of alerts if none is named."""
    return await queue.claim_runs(
        worker_id, [Wanted(kind, limit, RUNTIME, is_batch) for kind in types or ("alert",)]
    )
