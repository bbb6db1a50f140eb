"""What JobWatch looks at, and the outbox that it writes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from atf.health.job_watch import SLOW_SECONDS, SLOW_SHARE, Backlog, FailedJob, Findings, LostWorker, SlowRun
from atf.notifications.message import OutgoingMessage
from atf.storage.database import Database
from atf.storage.message_adding import add_messages

_FAILED: Final = text(
    """
    SELECT d.job_type, d.job_id, COALESCE(max(d.job_snapshot ->> 'name'), '') AS name, count(*) AS runs,
           COALESCE((array_agg(d.error ORDER BY d.died_at DESC))[1], 'unknown') AS newest_error
    FROM job_dead_letters d
    WHERE d.died_at > now() - interval '1 hour' AND d.requeued_at IS NULL
    GROUP BY d.job_type, d.job_id ORDER BY d.job_type, d.job_id
    """
)
_BACKLOGS: Final = text(
    """
    SELECT job_type, count(*) AS waiting,
           extract(epoch FROM now() - min(GREATEST(available_at, enqueued_at)))::float8 AS oldest_seconds
    FROM job_schedule_runs WHERE status = 'PENDING' AND available_at <= now()
    GROUP BY job_type
    HAVING min(GREATEST(available_at, enqueued_at)) < now() - make_interval(secs => :backlog_seconds)
    ORDER BY job_type
    """
)
_SLOW: Final = text(
    """
    SELECT run_id::text, job_type, job_id, extract(epoch FROM now() - started_at)::float8 AS seconds,
           extract(epoch FROM deadline_at - started_at)::float8 AS limit_seconds
    FROM job_schedule_runs
    WHERE status = 'RUNNING' AND now() - started_at > :share * (deadline_at - started_at)
      AND now() - started_at > make_interval(secs => :seconds)
    ORDER BY started_at LIMIT 20
    """
)
_LOST: Final = text(
    """
    SELECT worker_id, host, pid FROM workers_lost
    WHERE lost_at > now() - interval '1 hour' ORDER BY lost_at LIMIT 20
    """
)
_ADMINISTRATORS: Final = text("SELECT id FROM users WHERE role = 'admin' AND is_active ORDER BY id")


class PostgresJobWatch:
    """Jobs as administrators want to hear of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self, *, backlog_seconds: float) -> Findings:
        """Return what is wrong now, and what failed within the last hour."""
        async with self._database.transaction() as connection:
            failed = await connection.execute(_FAILED)
            backlogs = await connection.execute(_BACKLOGS, {"backlog_seconds": backlog_seconds})
            slow = await connection.execute(_SLOW, {"share": SLOW_SHARE, "seconds": SLOW_SECONDS})
            lost = await connection.execute(_LOST)
            return Findings(
                [FailedJob(**row._mapping) for row in failed],
                [Backlog(**row._mapping) for row in backlogs],
                [SlowRun(**row._mapping) for row in slow],
                [LostWorker(**row._mapping) for row in lost],
            )

    async def administrators(self) -> Sequence[int]:
        """Return the ids of the users who are told."""
        async with self._database.transaction() as connection:
            return list((await connection.execute(_ADMINISTRATORS)).scalars())

    async def tell(self, messages: Sequence[OutgoingMessage]) -> int:
        """Store messages; one whose key is stored already is left alone."""
        async with self._database.transaction() as connection:
            return await add_messages(connection, messages)
