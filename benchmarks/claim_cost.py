"""What it costs to claim with the limits of schedules and users, beside claiming without any."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final

from atf.jobs.lease import Holder
from atf.jobs.queue import Outcomes, Wanted
from atf.jobs.run import Completion, WorkerId
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.workers_repository import PostgresLeases
from benchmarks.measure import BenchmarkError, Observation
from benchmarks.run_table import BATCH, RunTable, milliseconds

_RUNTIME: Final = timedelta(minutes=5)
_USER_LIMIT: Final = 1_000


async def claim_all(table: RunTable, count: int, *, is_limited: bool, size: int = BATCH) -> Observation:
    """Claim and complete all waiting runs in turns; return milliseconds a claim."""
    await table.refill(count)
    leases, worker_id = PostgresLeases(table.database), WorkerId(f"claims-{time.monotonic_ns()}")
    await leases.register(Holder(worker_id, "here", 0, ("report",)), _RUNTIME)
    queue = PostgresRunQueue(table.database, user_limit=_USER_LIMIT)
    wanted, claims, left = Wanted("report", size, _RUNTIME, is_batch=not is_limited), [], count
    try:
        while left > 0:
            begin = time.perf_counter()
            runs = await queue.claim_runs(worker_id, [wanted])
            claims.append(time.perf_counter() - begin)
            if not runs:
                raise BenchmarkError(f"{left} runs were not claimed")
            await queue.finish(worker_id, Outcomes(completions=[Completion(run, {}) for run in runs]))
            left -= len(runs)
    finally:
        await queue.close()
        await leases.remove(worker_id)
    return milliseconds(claims)
