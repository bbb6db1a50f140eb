"""Putting runs into the queue whose pause is over. One that waits has no sort key, so claiming skips it."""

from __future__ import annotations

from typing import Final

from atf.storage.database import Database
from atf.storage.pinned_connection import PinnedConnection

_STAGE: Final = """
    WITH due AS (
        SELECT retention_class, scheduled_for, id FROM job_schedule_runs
        WHERE status = 'PENDING' AND sort_key IS NULL AND available_at <= now()
        ORDER BY available_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED),
    staged AS (
        UPDATE job_schedule_runs r SET sort_key = job_sort_key(r.available_at, r.priority, 0) FROM due d
        WHERE r.retention_class = d.retention_class AND r.scheduled_for = d.scheduled_for AND r.id = d.id
        RETURNING 1)
    SELECT count(*), CASE WHEN count(*) > 0 THEN pg_notify('atf_runs', '') END FROM staged
"""


class PostgresStaging:
    """Runs that wait for their time. Asked every second, so it keeps a connection: that is half of the cost."""

    def __init__(self, database: Database) -> None:
        self._connection = PinnedConnection(database)

    async def stage_due(self, limit: int) -> int:
        """Give up to ``limit`` waiting runs whose time has come their place in the queue, and wake workers."""
        ((staged, _),) = await self._connection.fetch((_STAGE, {"limit": limit}))
        return int(staged)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()
