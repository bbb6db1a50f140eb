"""Runs, claims, dead letters, workers and misfires for JobsService: one transaction a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.jobs.claims_service import RunState
from atf.jobs.dead_letters import DeadLetter, DeadLetterFilter
from atf.jobs.overview import MisfireRecord, WorkerRecord
from atf.jobs.queue import Outcomes, Wanted
from atf.jobs.run import ClaimedRun, RunFilter, RunId, RunRecord, RunStatus, WorkerId
from atf.jobs.run_request import NewRun, RunUpdate
from atf.jobs.run_statistics import RunCounts
from atf.security.user import Quotas
from atf.storage import dead_letters_repository, overview_repository, run_changes, runs_repository
from atf.storage.audit_repository import record_doing
from atf.storage.database import Database
from atf.storage.quotas import take_run
from atf.storage.retention import PostgresRetention
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.run_steps_repository import progress_of

_DAYS_AGO: Final = text("SELECT now() - make_interval(days => :days)")


class PostgresRuns:
    """What JobsService does with runs, as SQL."""

    def __init__(self, database: Database, quotas: Quotas | None = None) -> None:
        """``quotas``: what users may have that have no limits of their own."""
        self._database = database
        self._quotas = quotas or Quotas()
        self._queue = PostgresRunQueue(database)

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """Return a user's runs."""
        async with self._database.transaction() as connection:
            return await runs_repository.list_runs(connection, wanted)

    async def get_run(self, user_id: int, run_id: RunId) -> RunRecord | None:
        """Return one run."""
        async with self._database.transaction() as connection:
            found = await runs_repository.get_run(connection, user_id, run_id)
            return found and replace(found, progress=await progress_of(connection, run_id))

    async def find_runs(self, user_id: int, first: UUID, last: UUID, limit: int) -> Sequence[RunRecord]:
        """Return a user's runs whose ids lie between two, both included."""
        async with self._database.transaction() as connection:
            return await runs_repository.find_runs(connection, user_id, first, last, limit)

    async def pending_runs(self, job_type: str | None, limit: int) -> Sequence[RunRecord]:
        """Return runs that may begin now, in the order in which they are claimed."""
        async with self._database.transaction() as connection:
            return await runs_repository.pending_runs(connection, job_type, limit)

    async def count_runs(self, user_id: int, job_type: str | None, days: int) -> RunCounts:
        """Add up the runs that ended within some days."""
        async with self._database.transaction() as connection:
            return await runs_repository.count_runs(connection, user_id, job_type, days)

    async def add_run(self, new: NewRun) -> RunRecord:
        """Store a run and wake the workers."""
        async with self._database.transaction() as connection:
            return await self._add(connection, new)

    async def _add(self, connection: AsyncConnection, new: NewRun) -> RunRecord:
        if new.user_id is not None:
            await take_run(connection, new.user_id, self._quotas)
        run = await run_changes.add_run(connection, new)
        await record_doing(connection, "run.start", "run", str(run.run_id), new.user_id)
        return run

    async def count_waiting(self, user_id: int, most: int) -> int:
        """Return how many ad-hoc runs of a user are PENDING, counting no further than ``most``."""
        async with self._database.transaction() as connection:
            return await run_changes.count_waiting(connection, user_id, most)

    async def cancel_run(self, user_id: int, run_id: RunId) -> RunStatus | None:
        """Cancel a PENDING run, ask the worker of a RUNNING one to stop; return what it was before."""
        async with self._database.transaction() as connection:
            before = await run_changes.cancel_run(connection, user_id, run_id)
            if before is not None and not before.is_final:
                await record_doing(connection, "run.cancel", "run", str(run_id), user_id)
            return before

    async def cancel_waiting(self, run_id: RunId) -> bool:
        """Cancel a run if it is PENDING."""
        async with self._database.transaction() as connection:
            return await run_changes.cancel_waiting(connection, run_id)

    async def delete_old_runs(self, days: int) -> int:
        """Delete the ended runs that are older, by the database's clock: whole leaves first."""
        async with self._database.transaction() as connection:
            before = (await connection.execute(_DAYS_AGO, {"days": days})).scalar_one()
        return await PostgresRetention(self._database).delete_finished_before(before)

    async def keep_lease(self, worker_id: WorkerId, types: Sequence[str], lease: timedelta) -> None:
        """Write or extend the lease of a holder."""
        async with self._database.transaction() as connection:
            await run_changes.keep_lease(connection, worker_id, types, lease)

    async def claim_run(
        self, worker_id: WorkerId, run_id: RunId, *, lease: timedelta, max_runtime: timedelta
    ) -> ClaimedRun | None:
        """Take one run and the lease that it needs; None if it cannot be taken now."""
        async with self._database.transaction() as connection:
            return await run_changes.claim_run(
                connection, worker_id, run_id, lease=lease, max_runtime=max_runtime
            )

    async def claim_runs(self, worker_id: WorkerId, wanted: Sequence[Wanted]) -> Sequence[ClaimedRun]:
        """Take due runs as workers do, on a connection that is closed again: this is not a worker's loop."""
        queue = PostgresRunQueue(self._database)
        try:
            return await queue.claim_runs(worker_id, wanted)
        finally:
            await queue.close()

    async def state_of(self, run_id: RunId) -> RunState | None:
        """Return where a run is."""
        async with self._database.transaction() as connection:
            return await run_changes.state_of(connection, run_id)

    async def finish(self, worker_id: WorkerId, outcomes: Outcomes) -> frozenset[int]:
        """Write outcomes down as workers do."""
        return await self._queue.finish(worker_id, outcomes)

    async def annotate(self, run_id: RunId, update: RunUpdate) -> RunRecord:
        """Store result, error and instants that are given."""
        async with self._database.transaction() as connection:
            return await run_changes.annotate(connection, run_id, update)

    async def list_dead_letters(self, wanted: DeadLetterFilter) -> Sequence[DeadLetter]:
        """Return a user's dead letters, newest first."""
        async with self._database.transaction() as connection:
            return await dead_letters_repository.list_dead_letters(connection, wanted)

    async def get_dead_letter(self, user_id: int, letter_id: int) -> DeadLetter | None:
        """Return one dead letter."""
        async with self._database.transaction() as connection:
            return await dead_letters_repository.get_dead_letter(connection, user_id, letter_id)

    async def requeue_dead_letter(self, letter_id: int, new: NewRun) -> RunRecord | None:
        """Store its new run and mark it, in one transaction."""
        async with self._database.transaction() as connection:
            if not await dead_letters_repository.lock(connection, letter_id):
                return None
            run = await self._add(connection, new)
            await dead_letters_repository.mark(connection, letter_id, run.run_id)
            return run

    async def drop_dead_letter(self, user_id: int, letter_id: int) -> bool:
        """Forget one dead letter."""
        async with self._database.transaction() as connection:
            dropped = await dead_letters_repository.drop_dead_letter(connection, user_id, letter_id)
            if dropped:
                await record_doing(connection, "dead_letter.drop", "dead_letter", str(letter_id), user_id)
            return dropped

    async def list_workers(self) -> Sequence[WorkerRecord]:
        """Return all holders of leases, oldest first."""
        async with self._database.transaction() as connection:
            return await overview_repository.list_workers(connection)

    async def list_misfires(self, user_id: int, schedule_id: int | None, limit: int) -> Sequence[MisfireRecord]:
        """Return the misfires of a user's schedules, newest first."""
        async with self._database.transaction() as connection:
            return await overview_repository.list_misfires(connection, user_id, schedule_id, limit)

    async def symbols_of_set(self, name: str, day: date) -> Sequence[str]:
        """Return the symbols that belong to a set on a day."""
        async with self._database.transaction() as connection:
            return await overview_repository.symbols_of_set(connection, name, day)

    async def set_names(self, day: date) -> Sequence[str]:
        """Return the names of the sets that have symbols on a day."""
        async with self._database.transaction() as connection:
            return await overview_repository.set_names(connection, day)
