"""Putting runs into the queue whose pause is over. One that waits has no sort key, so claiming skips it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from atf.storage.database import Database

_STAGE: Final = text(
    """
    WITH due AS (
        SELECT retention_class, scheduled_for, id FROM job_schedule_runs
        WHERE status = 'PENDING' AND sort_key IS NULL AND available_at <= now()
        ORDER BY available_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE job_schedule_runs r SET sort_key = job_sort_key(r.available_at, r.priority, 0) FROM due d
    WHERE r.retention_class = d.retention_class AND r.scheduled_for = d.scheduled_for AND r.id = d.id
    """
)


class PostgresStaging:
    """Runs that wait for their time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stage_due(self, limit: int) -> int:
        """Give up to ``limit`` waiting runs whose time has come their place in the queue, and wake workers."""
        async with self._database.transaction() as connection:
            staged = (await connection.execute(_STAGE, {"limit": limit})).rowcount
            if staged:
                await connection.execute(text("SELECT pg_notify('atf_runs', '')"))
        return staged
