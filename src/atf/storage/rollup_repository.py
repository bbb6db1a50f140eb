"""The sums of closed hours."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import text

from atf.storage.advisory_lock import ROLLUP_LOCK, is_alone
from atf.storage.database import Database

_NEWEST: Final = text("SELECT max(hour) FROM job_run_statistics")
# Retention may have taken runs away since an hour was added up, so a sum only grows. User 0 is nobody.
_ADD_UP: Final = text(
    """
    INSERT INTO job_run_statistics AS s
           (hour, user_id, job_type, status, runs, retried, total_seconds, max_seconds)
    SELECT date_trunc('hour', finished_at, 'UTC'), COALESCE(user_id, 0), job_type, status, count(*),
           count(*) FILTER (WHERE attempt > 1),
           COALESCE(sum(extract(epoch FROM finished_at - started_at)), 0),
           COALESCE(max(extract(epoch FROM finished_at - started_at)), 0)
    FROM job_schedule_runs
    WHERE finished_at >= :begin AND finished_at < :end AND status IN ('COMPLETED', 'FAILED', 'CANCELLED')
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (hour, user_id, job_type, status) DO UPDATE
    SET runs = GREATEST(s.runs, EXCLUDED.runs), retried = GREATEST(s.retried, EXCLUDED.retried),
        total_seconds = GREATEST(s.total_seconds, EXCLUDED.total_seconds),
        max_seconds = GREATEST(s.max_seconds, EXCLUDED.max_seconds)
    """
)


class PostgresRollup:
    """The table of sums."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest_hour(self) -> datetime | None:
        """Return the newest hour that has been added up."""
        async with self._database.transaction() as connection:
            newest: datetime | None = (await connection.execute(_NEWEST)).scalar()
        return newest

    async def add_up(self, begin: datetime, end: datetime) -> int:
        """Store the sums of the runs that ended in [begin, end), unless somebody else is at it."""
        async with self._database.transaction() as connection:
            if not await is_alone(connection, ROLLUP_LOCK):
                return 0
            return (await connection.execute(_ADD_UP, {"begin": begin, "end": end})).rowcount
