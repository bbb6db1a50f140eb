"""The chores on a real database: what they take away, what they leave alone, and two of each at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from atf.errors import DatabaseUnavailable
from atf.jobs.chores.cleaner import Cleaner
from atf.jobs.chores.dead_letter_pruner import DeadLetterPruner
from atf.jobs.chores.retry_stager import RetryStager
from atf.jobs.chores.statistics_rollup import StatisticsRollup
from atf.storage.database import Database
from atf.storage.partitions import existing_leaves, make_missing, partitions_between
from atf.storage.retention import PostgresRetention
from atf.storage.rollup_repository import PostgresRollup
from atf.storage.staging import PostgresStaging
from atf.storage.workers_repository import PostgresLeases
from atf.testing.clocks import FakeClock

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

NOON = datetime(2024, 6, 15, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEAVES = "SELECT relid::regclass::text FROM pg_partition_tree('job_schedule_runs') WHERE isleaf ORDER BY 1"


@pytest.fixture
async def retention(database: Database) -> PostgresRetention:
    """With leaves from January to June, and of alerts of the last four days."""
    async with database.transaction() as connection:
        await make_missing(
            connection,
            [
                *partitions_between("other", NOON - 150 * DAY, NOON),
                *partitions_between("alert", NOON - 3 * DAY, NOON),
                *partitions_between("replay", NOON - 999 * DAY, NOON - 999 * DAY),
            ],
        )
    return PostgresRetention(database)


async def a_run(rows: Rows, job_id: int, at: datetime, status: str = "COMPLETED", **changes: Any) -> None:
    values = {
        "class": "other", "user": 1, "attempt": 1, "type": "report", "max": 3, "worker": None, "cancel": False,
        "finished": at + timedelta(seconds=10) if status in ("COMPLETED", "FAILED", "CANCELLED") else None,
        **changes,
    }  # fmt: skip
    await rows.change(
        """
        INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, status,
                                       started_at, finished_at, attempt, max_attempts, worker_id,
                                       cancel_requested)
        VALUES (:type, :job_id, :user, :at, :class, :status, :at, :finished, :attempt, :max, :worker, :cancel)
        """,
        job_id=job_id,
        at=at,
        status=status,
        **values,
    )


def cleaner(retention: PostgresRetention) -> Cleaner:
    return Cleaner(retention, FakeClock(NOON))


# --- the cleaner


async def test_leaves_are_dropped_when_their_whole_range_is_too_old(
    retention: PostgresRetention, rows: Rows
) -> None:
    before = await rows.column(LEAVES)
    dropped = await cleaner(retention).run_once()
    assert [name[-14:] for name in sorted(dropped)] == [
        "alert_20240612", "alert_20240613", "other_20240101", "other_20240201"
    ]  # fmt: skip
    assert await rows.column(LEAVES) == [name for name in before if name not in dropped]
    assert await cleaner(retention).run_once() == []


@pytest.mark.parametrize(("status", "waits"), [("PENDING", False), ("PENDING", True), ("RUNNING", False)])
async def test_a_leaf_with_an_open_run_stays_until_it_has_ended(
    retention: PostgresRetention, rows: Rows, status: str, waits: bool
) -> None:
    await a_run(rows, 1, NOON - 140 * DAY)
    await a_run(rows, 2, NOON - 140 * DAY, status)
    await rows.change("UPDATE job_schedule_runs SET sort_key = NULL WHERE :waits", waits=waits)
    dropped = await cleaner(retention).run_once()
    assert "job_schedule_runs_other_20240101" not in dropped
    assert "job_schedule_runs_other_20240201" in dropped
    assert await rows.value("SELECT count(*) FROM job_schedule_runs") == 2
    await rows.change("UPDATE job_schedule_runs SET status = 'CANCELLED' WHERE job_id = 2")
    assert await cleaner(retention).run_once() == ["job_schedule_runs_other_20240101"]


async def test_runs_of_a_replay_are_not_dropped(retention: PostgresRetention, rows: Rows) -> None:
    await a_run(rows, 1, NOON - 999 * DAY, **{"class": "replay"})
    await cleaner(retention).run_once()
    assert await rows.value("SELECT count(*) FROM job_schedule_runs") == 1


async def test_a_leaf_in_use_stays_for_the_next_time_and_holds_up_nobody(
    database: Database, retention: PostgresRetention
) -> None:
    async with database.transaction() as reader:
        await reader.execute(text("SELECT count(*) FROM job_schedule_runs_other_20240101"))
        dropped = await cleaner(retention).run_once()
        assert "job_schedule_runs_other_20240101" not in dropped
        assert "job_schedule_runs_alert_20240612" in dropped
    assert "job_schedule_runs_other_20240101" in await cleaner(retention).run_once()


async def test_if_nothing_can_be_dropped_the_chore_says_so(
    database: Database, retention: PostgresRetention
) -> None:
    async with database.transaction() as reader:
        await reader.execute(text("SELECT count(*) FROM job_schedule_runs"))
        with pytest.raises(DatabaseUnavailable, match="stays locked"):
            await retention.drop_expired(NOON - 900 * DAY, NOON - 120 * DAY)


async def test_two_cleaners_at_once_drop_each_leaf_once(retention: PostgresRetention, rows: Rows) -> None:
    done = await asyncio.gather(*(cleaner(retention).run_once() for _ in range(4)))
    again = await cleaner(retention).run_once()
    dropped = [name for names in (*done, again) for name in names]
    assert len(dropped) == len(set(dropped)) == 4


async def test_old_misfires_and_statistics_go_with_the_runs(retention: PostgresRetention, rows: Rows) -> None:
    await rows.change("INSERT INTO schedule_groups (cron, timezone) VALUES ('x', 'UTC')")
    await rows.change(
        "INSERT INTO job_schedules (user_id, name, job_type, target, cron, effective_from, group_id) "
        "VALUES (1, 'n', 'report', 'all', 'x', now(), 1)"
    )
    await rows.change(
        "INSERT INTO job_misfires (schedule_id, count, first_at, last_at, reason, noticed_at) "
        "SELECT 1, n, CAST(:noon AS timestamptz) - n * interval '1 day', now(), 'late', "
        "CAST(:noon AS timestamptz) - n * interval '1 day' FROM unnest(ARRAY[80, 100]) AS n",
        noon=NOON,
    )
    await rows.change(
        "INSERT INTO job_run_statistics SELECT CAST(:noon AS timestamptz) - n * interval '1 day', 1, 'report', "
        "'COMPLETED', n, 0, 0, 0 FROM unnest(ARRAY[700, 800]) AS n",
        noon=NOON,
    )
    await cleaner(retention).run_once()
    assert await rows.column("SELECT count FROM job_misfires") == [80]
    assert await rows.column("SELECT runs FROM job_run_statistics") == [700]


async def test_leaves_are_known_by_their_range(database: Database, retention: PostgresRetention) -> None:
    async with database.transaction() as connection:
        leaves = await existing_leaves(connection)
    assert len(leaves) == 11
    assert leaves[0] == next(partitions_between("alert", NOON - 3 * DAY, NOON))


# --- cleaning up on demand


async def test_runs_finished_before_an_instant_are_deleted_and_counted(
    retention: PostgresRetention, rows: Rows
) -> None:
    middle = datetime(2024, 3, 15, tzinfo=UTC)
    for job_id, at in enumerate((middle - 70 * DAY, middle - DAY, middle + DAY)):
        await a_run(rows, job_id, at)
    await a_run(rows, 7, middle - DAY, "FAILED")
    await a_run(rows, 8, middle - DAY, "PENDING")
    await a_run(rows, 9, middle - DAY, finished=middle + HOUR)
    await a_run(rows, 10, NOON - 999 * DAY, **{"class": "replay"})
    assert await retention.delete_finished_before(middle) == 3
    assert await rows.column("SELECT job_id FROM job_schedule_runs ORDER BY 1") == [2, 8, 9, 10]
    assert "job_schedule_runs_other_20240101" not in await rows.column(LEAVES)


# --- the roll-up


async def test_closed_hours_are_added_up_once(
    database: Database, retention: PostgresRetention, rows: Rows
) -> None:
    await a_run(rows, 1, NOON - 2 * HOUR)
    await a_run(rows, 2, NOON - 2 * HOUR, attempt=3)
    await a_run(rows, 3, NOON - 2 * HOUR, "FAILED", user=None)
    await a_run(rows, 4, NOON - HOUR, **{"class": "alert", "type": "alert"})
    await a_run(rows, 5, NOON, **{"class": "alert", "type": "alert"})
    await a_run(rows, 6, NOON - HOUR, "PENDING")
    rollup = StatisticsRollup(PostgresRollup(database), FakeClock(NOON + HOUR / 2))
    for _ in range(2):
        await rollup.run_once()
        found = await rows.all(
            "SELECT hour, user_id, job_type, status, runs, retried, total_seconds, max_seconds "
            "FROM job_run_statistics ORDER BY hour, user_id"
        )
        assert [tuple(row) for row in found] == [
            (NOON - 2 * HOUR, 0, "report", "FAILED", 1, 0, 10, 10),
            (NOON - 2 * HOUR, 1, "report", "COMPLETED", 2, 1, 20, 10),
            (NOON - HOUR, 1, "alert", "COMPLETED", 1, 0, 10, 10),
        ]


async def test_a_late_commit_is_added_and_dropped_runs_stay_counted(
    database: Database, retention: PostgresRetention, rows: Rows
) -> None:
    await a_run(rows, 1, NOON - 2 * HOUR)
    await a_run(rows, 2, NOON - HOUR)
    rollup = StatisticsRollup(PostgresRollup(database), FakeClock(NOON))
    await rollup.run_once()
    await a_run(rows, 3, NOON - 2 * HOUR)
    await rollup.run_once()
    assert await rows.column("SELECT runs FROM job_run_statistics ORDER BY hour") == [2, 1]
    await rows.change("DELETE FROM job_schedule_runs")
    await rollup.run_once()
    assert await rows.column("SELECT runs FROM job_run_statistics ORDER BY hour") == [2, 1]


async def test_rollups_at_once_add_nothing_twice(
    database: Database, retention: PostgresRetention, rows: Rows
) -> None:
    for job_id in range(5):
        await a_run(rows, job_id, NOON - HOUR)
    rollup = StatisticsRollup(PostgresRollup(database), FakeClock(NOON))
    await asyncio.gather(*(rollup.run_once() for _ in range(4)))
    await rollup.run_once()
    assert await rows.column("SELECT runs FROM job_run_statistics") == [5]


# --- the stager


async def test_what_has_waited_enough_gets_its_place_in_the_queue(database: Database, rows: Rows) -> None:
    await rows.pending_runs(3, priority=2, available_in=timedelta(seconds=-5))
    await rows.pending_runs(2, available_in=HOUR, first_job_id=10)
    await rows.change("UPDATE job_schedule_runs SET sort_key = NULL")
    stores = [PostgresStaging(database) for _ in range(3)]
    try:
        assert sum(await asyncio.gather(*(RetryStager(store).run_once() for store in stores))) == 3
    finally:
        await asyncio.gather(*(store.close() for store in stores))
    staged = await rows.all("SELECT available_at, sort_key FROM job_schedule_runs WHERE sort_key IS NOT NULL")
    assert [row.sort_key - row.available_at for row in staged] == [timedelta(minutes=2)] * 3


# --- dead letters


async def test_dead_letters_go_when_they_are_old_or_too_many(database: Database, rows: Rows) -> None:
    await rows.change(
        "INSERT INTO job_dead_letters "
        "(run_id, job_type, job_id, scheduled_for, reason, attempt, max_attempts, died_at) "
        "SELECT gen_random_uuid(), 'report', job_id, now(), 'exhausted', 1, 1, now() - n * interval '1 hour' "
        "FROM generate_series(1, 120) AS n, unnest(ARRAY[1, NULL]::bigint[]) AS job_id "
        "UNION ALL SELECT gen_random_uuid(), 'report', 2, now(), 'permanent', 1, 1, now() - interval '91 days'"
    )
    pruners = [DeadLetterPruner(PostgresRetention(database), 90 * DAY) for _ in range(2)]
    await asyncio.gather(*(pruner.run_once() for pruner in pruners))
    left = await rows.all("SELECT job_id, count(*) AS n FROM job_dead_letters GROUP BY 1 ORDER BY 1")
    assert [(row.job_id, row.n) for row in left] == [(1, 100), (None, 120)]


# --- the rescuer


async def test_a_rescue_remembers_the_attempt_buries_the_exhausted_and_cancels_the_unwanted(
    database: Database, retention: PostgresRetention, rows: Rows
) -> None:
    await a_run(rows, 1, NOON, "RUNNING", worker="w")
    await a_run(rows, 2, NOON, "RUNNING", worker="w", attempt=3)
    await a_run(rows, 3, NOON, "RUNNING", worker="w", cancel=True)
    rescued = await asyncio.gather(*(PostgresLeases(database).rescue() for _ in range(3)))
    # Who of the three got which run is chance.
    shares = [(one.runs_requeued, one.runs_failed, one.runs_cancelled) for one in rescued]
    assert tuple(map(sum, zip(*shares, strict=True))) == (1, 1, 1)
    runs = await rows.all("SELECT * FROM job_schedule_runs ORDER BY job_id")
    assert [(run.status, run.attempt, run.worker_id) for run in runs] == [
        ("PENDING", 2, None), ("FAILED", 3, None), ("CANCELLED", 1, None)
    ]  # fmt: skip
    message = "w died in attempt 1"
    (attempt,) = runs[0].attempts
    assert (attempt["attempt"], attempt["worker_id"], attempt["outcome"]) == (1, "w", "worker_lost")
    assert attempt["error"] == {"type": "WorkerLost", "message": message}
    assert runs[0].sort_key == runs[0].available_at
    (letter,) = await rows.all("SELECT * FROM job_dead_letters")
    assert (letter.run_id, letter.reason, letter.attempt) == (runs[1].run_id, "worker_lost", 3)
    assert letter.attempts == runs[1].attempts
