"""What JobWatch finds in a real database, and that telling it twice is telling it once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from atf.clock import SystemClock
from atf.health.job_watch import Backlog, FailedJob, JobWatch, LostWorker
from atf.storage.database import Database
from atf.storage.job_watch_repository import PostgresJobWatch
from atf.storage.workers_repository import PostgresLeases

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

LETTERS = """
    INSERT INTO job_dead_letters (run_id, job_type, job_id, scheduled_for, reason, attempt, max_attempts, error,
                                  job_snapshot, died_at)
    SELECT gen_random_uuid(), 'report', 3, now(), 'exhausted', 3, 3, error, '{"name": "daily"}', died_at
    FROM (VALUES ('ValueError: old', now() - interval '2 hours'),
                 ('ValueError: first', now() - interval '1 minute'),
                 ('ValueError: second', now())) AS l(error, died_at)
"""


async def test_what_is_wrong_is_found(database: Database, rows: Rows) -> None:
    await rows.change(LETTERS)
    await rows.pending_runs(3)
    await rows.pending_runs(1, available_in=timedelta(hours=1), first_job_id=9)
    await rows.change(
        "UPDATE job_schedule_runs SET available_at = now() - interval '400 seconds', "
        "enqueued_at = now() - interval '400 seconds' WHERE job_id = 1"
    )
    await rows.worker("gone", lease=timedelta(seconds=-1))
    await PostgresLeases(database).rescue()
    await rows.pending_runs(2, job_type="report", retention_class="other", first_job_id=20)
    await rows.change(
        "UPDATE job_schedule_runs SET status = 'RUNNING', started_at = now() - interval '90 seconds', "
        "deadline_at = now() + CASE job_id WHEN 20 THEN interval '10 seconds' ELSE interval '1 hour' END "
        "WHERE job_type = 'report'"
    )
    found = await PostgresJobWatch(database).look(backlog_seconds=300)
    assert found.failed == [FailedJob("report", 3, "daily", 2, "ValueError: second")]
    assert [(one.job_type, one.waiting) for one in found.backlogs] == [("alert", 3)]
    assert isinstance(found.backlogs[0], Backlog)
    assert found.backlogs[0].oldest_seconds > 399
    assert [(one.job_id, round(one.limit_seconds)) for one in found.slow] == [(20, 100)]
    assert found.lost == [LostWorker("gone", "host", 1)]


async def test_administrators_are_told_once(database: Database, rows: Rows) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('second', 'admin'), ('trader', 'trader')")
    await rows.change(LETTERS)
    watches = [
        JobWatch(PostgresJobWatch(database), SystemClock(), backlog=timedelta(minutes=5)) for _ in range(2)
    ]
    assert [await watch.run_once() for watch in watches] == [2, 0]
    told = await rows.all(
        "SELECT u.name, m.title, d.channel FROM msg_messages m JOIN users u ON u.id = m.user_id "
        "JOIN msg_deliveries d ON d.message_id = m.id ORDER BY u.name"
    )
    title = "Job failed: report 'daily'"
    assert [tuple(row) for row in told] == [("owner", title, "inbox"), ("second", title, "inbox")]


async def test_a_quiet_database_has_nothing_to_tell(database: Database) -> None:
    watch = JobWatch(PostgresJobWatch(database), SystemClock(), backlog=timedelta(minutes=5))
    assert await watch.run_once() == 0
