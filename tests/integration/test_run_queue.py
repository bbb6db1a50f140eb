"""The run table as a queue: who gets what, in which order, and that only the holder changes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from atf.errors import NotFound
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import ClaimedRun, Completion, Failure, JobType, RunFilter, RunStatus, WorkerId
from atf.storage import runs_repository
from atf.storage.database import Database
from atf.storage.runs_repository import PostgresRunQueue, complete_runs, held_runs
from atf.storage.schedules_repository import PostgresJobsRepository
from atf.storage.workers_repository import PostgresLeases

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

    from atf.testing.clocks import FakeMarketClock

NOW = timedelta(0)
LATER = timedelta(hours=1)
ALERTS = (JobType.ALERT,)


@pytest.fixture
def queue(database: Database) -> PostgresRunQueue:
    return PostgresRunQueue(database)


@pytest.fixture
async def worker(rows: Rows) -> WorkerId:
    return await rows.worker()


async def complete(database: Database, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> frozenset[int]:
    """Complete what is still held, as an evaluator does; the ids of those."""
    async with database.transaction() as connection:
        held = await held_runs(connection, worker_id, runs)
        ours = [Completion(run, {"of": run.job_id}) for run in runs if run.key.id in held]
        await complete_runs(connection, worker_id, ours)
    return held


async def the_run(rows: Rows) -> Any:
    (row,) = await rows.all("SELECT * FROM job_schedule_runs")
    return row


async def test_a_claimed_run_carries_what_its_handler_needs(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1, first_job_id=7, max_attempts=5)
    (run,) = await queue.claim_runs(worker, ALERTS, 10)
    stored = await the_run(rows)
    assert (run.job_type, run.job_id, run.user_id, run.attempt, run.max_attempts) == (JobType.ALERT, 7, 1, 1, 5)
    assert (run.key.id, run.key.retention_class, run.run_id) == (stored.id, "alert", stored.run_id)
    assert run.key.scheduled_for == stored.scheduled_for
    assert run.snapshot == {"version": 1}
    assert (stored.status, stored.worker_id) == ("RUNNING", worker)
    assert stored.started_at is not None


async def test_only_a_live_lease_claims(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(1)
    assert await queue.claim_runs(WorkerId("nobody"), ALERTS, 10) == []
    await rows.expire(worker)
    assert await queue.claim_runs(worker, ALERTS, 10) == []
    assert await rows.statuses() == {"PENDING": 1}


async def test_eight_claimers_get_each_of_5000_runs_once(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(5_000)
    others = [await rows.worker(f"other-{n}") for n in range(7)]

    async def drain(claimer: WorkerId) -> list[int]:
        claimed: list[int] = []
        while runs := await queue.claim_runs(claimer, ALERTS, 100):
            claimed += [run.key.id for run in runs]
        return claimed

    shares = await asyncio.gather(*(drain(claimer) for claimer in [worker, *others]))
    everything = [run_id for share in shares for run_id in share]
    assert len(everything) == len(set(everything)) == 5_000
    assert sum(1 for share in shares if share) > 1


async def test_lower_priority_numbers_go_first_then_who_waits_longer_then_ids(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(2, first_job_id=10)
    await rows.pending_runs(1, first_job_id=20, available_in=-LATER)
    await rows.pending_runs(1, first_job_id=30, priority=5, available_in=-2 * LATER)
    await rows.pending_runs(1, first_job_id=40, priority=-5)
    order = [(await queue.claim_runs(worker, ALERTS, 1))[0].job_id for _ in range(5)]
    assert order == [40, 20, 10, 11, 30]


async def test_only_own_types_are_claimed(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(2, job_type="report", retention_class="other")
    await rows.pending_runs(1)
    assert [run.job_type for run in await queue.claim_runs(worker, ALERTS, 10)] == [JobType.ALERT]
    both = await queue.claim_runs(worker, (JobType.ALERT, JobType.REPORT), 10)
    assert [run.job_type for run in both] == [JobType.REPORT] * 2


async def test_what_is_available_later_is_not_claimed_yet(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1, available_in=LATER)
    assert await queue.claim_runs(worker, ALERTS, 10) == []
    await rows.change("UPDATE job_schedule_runs SET available_at = now()")
    assert len(await queue.claim_runs(worker, ALERTS, 10)) == 1


async def test_a_run_put_back_costs_no_attempt_and_waits(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1)
    for delay, claimable in ((NOW, 1), (LATER, 0)):
        runs = await queue.claim_runs(worker, ALERTS, 10)
        await queue.put_back(worker, runs, delay)
        run = await the_run(rows)
        assert (run.status, run.attempt, run.worker_id, run.started_at) == ("PENDING", 1, None, None)
        assert len(await queue.claim_runs(worker, ALERTS, 10)) == claimable
        await queue.release_held(worker)
        await rows.change("UPDATE job_schedule_runs SET attempt = 1")


async def test_a_failure_is_tried_again_until_the_attempts_are_used_up(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1, max_attempts=3)
    seen = []
    while runs := await queue.claim_runs(worker, ALERTS, 10):
        await queue.fail(worker, [Failure(runs[0], ValueError("no luck"), is_permanent=False)], NOW)
        run = await the_run(rows)
        seen.append((run.status, run.attempt, run.error, run.finished_at is not None))
    assert seen == [
        ("PENDING", 2, "ValueError: no luck", False),
        ("PENDING", 3, "ValueError: no luck", False),
        ("FAILED", 3, "ValueError: no luck", True),
    ]


async def test_a_failure_waits_before_its_next_try(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(1)
    runs = await queue.claim_runs(worker, ALERTS, 10)
    await queue.fail(worker, [Failure(runs[0], ValueError(), is_permanent=False)], LATER)
    assert await queue.claim_runs(worker, ALERTS, 10) == []


async def test_a_permanent_failure_ends_at_once(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(1, max_attempts=3)
    runs = await queue.claim_runs(worker, ALERTS, 10)
    await queue.fail(worker, [Failure(runs[0], ValueError("never"), is_permanent=True)], NOW)
    run = await the_run(rows)
    assert (run.status, run.attempt, run.error) == ("FAILED", 1, "ValueError: never")
    assert run.error_details == {"type": "ValueError", "message": "never"}


@pytest.mark.parametrize("text_", ["a\0b" + "x" * 1_000_000, "a\ud800b"], ids=["NUL and a megabyte", "surrogate"])
async def test_no_error_text_keeps_a_failure_from_being_recorded(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId, text_: str
) -> None:
    await rows.pending_runs(1)
    runs = await queue.claim_runs(worker, ALERTS, 10)
    await queue.fail(worker, [Failure(runs[0], ValueError(text_), is_permanent=True)], NOW)
    run = await the_run(rows)
    assert run.status == "FAILED"
    assert run.error.startswith("ValueError: a")
    assert len(run.error) <= 10_000


async def test_a_completed_run_has_its_result_and_the_snapshot_that_was_used(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(2)
    first, second = await queue.claim_runs(worker, ALERTS, 10)
    async with database.transaction() as connection:
        completions = [Completion(first, {"n": 1}), Completion(second, {"n": 2}, {"version": 9})]
        await complete_runs(connection, worker, completions)
    stored = await rows.all("SELECT status, result, job_snapshot, error FROM job_schedule_runs ORDER BY id")
    assert [tuple(row) for row in stored] == [
        ("COMPLETED", {"n": 1}, {"version": 1}, None),
        ("COMPLETED", {"n": 2}, {"version": 9}, None),
    ]


async def test_a_rescued_run_is_not_changed_by_its_former_worker(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1)
    late = await queue.claim_runs(worker, ALERTS, 10)
    await rows.expire(worker)
    await PostgresLeases(database).rescue()
    (mine,) = await queue.claim_runs(await rows.worker("second"), ALERTS, 10)
    before = await the_run(rows)

    assert await complete(database, worker, late) == frozenset()
    async with database.transaction() as connection:
        await complete_runs(connection, worker, [Completion(late[0], {})])
    await queue.fail(worker, [Failure(late[0], ValueError(), is_permanent=True)], NOW)
    await queue.put_back(worker, late, NOW)
    assert await queue.release_held(worker) == 0

    assert await the_run(rows) == before
    assert mine.attempt == 2
    assert await complete(database, WorkerId("second"), [mine]) == {mine.key.id}


async def test_an_attempt_that_was_given_back_does_not_complete_the_next_one_of_the_same_worker(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1)
    old = await queue.claim_runs(worker, ALERTS, 10)
    assert await queue.release_held(worker) == 1
    new = await queue.claim_runs(worker, ALERTS, 10)
    assert await complete(database, worker, old) == frozenset()
    assert (await the_run(rows)).status == "RUNNING"
    assert await complete(database, worker, new) == {new[0].key.id}


@pytest.mark.parametrize(
    "maintenance",
    [
        "UPDATE job_schedule_runs SET status='FAILED', error='Service restart cleanup' WHERE status='RUNNING'",
        "UPDATE job_schedule_runs SET status='CANCELLED' WHERE status='RUNNING'",
    ],
)
async def test_a_run_that_a_person_ended_stays_so_and_the_rest_of_its_batch_completes(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId, maintenance: str
) -> None:
    await rows.pending_runs(10)
    runs = await queue.claim_runs(worker, ALERTS, 10)
    assert await rows.change(f"{maintenance} AND job_id <= 3") == 3
    before = await rows.all("SELECT * FROM job_schedule_runs WHERE job_id <= 3 ORDER BY id")
    assert len(await complete(database, worker, runs)) == 7
    await queue.fail(worker, [Failure(run, ValueError(), is_permanent=False) for run in runs], NOW)
    await queue.put_back(worker, runs, NOW)
    assert await rows.all("SELECT * FROM job_schedule_runs WHERE job_id <= 3 ORDER BY id") == before
    assert (await rows.statuses())["COMPLETED"] == 7


async def test_what_is_being_ended_by_a_person_is_waited_for_and_left_alone(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId, eventually: Any
) -> None:
    await rows.pending_runs(2)
    runs = await queue.claim_runs(worker, ALERTS, 10)
    async with database.transaction() as person:
        await person.execute(text("UPDATE job_schedule_runs SET status = 'CANCELLED' WHERE job_id = 1"))
        completing = asyncio.create_task(complete(database, worker, runs))
        await eventually(rows.somebody_waits_for_a_lock)
    assert await completing == {run.key.id for run in runs if run.job_id == 2}
    assert await rows.statuses() == {"CANCELLED": 1, "COMPLETED": 1}


async def test_release_gives_back_all_that_the_worker_holds_and_nothing_else(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(4)
    await complete(database, worker, await queue.claim_runs(worker, ALERTS, 1))
    await queue.claim_runs(worker, ALERTS, 2)
    await queue.claim_runs(await rows.worker("second"), ALERTS, 1)
    assert await queue.release_held(worker) == 2
    assert await rows.statuses() == {"COMPLETED": 1, "PENDING": 2, "RUNNING": 1}
    assert await rows.column("SELECT attempt FROM job_schedule_runs WHERE status = 'PENDING'") == [2, 2]


async def test_empty_batches_are_harmless(database: Database, queue: PostgresRunQueue, worker: WorkerId) -> None:
    await queue.put_back(worker, [], NOW)
    await queue.fail(worker, [], NOW)
    assert await complete(database, worker, []) == frozenset()
    assert await queue.claim_runs(worker, [], 10) == []


async def test_the_missions_queries_run_unchanged(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(3)
    runs = await queue.claim_runs(worker, ALERTS, 3)
    await queue.fail(worker, [Failure(runs[0], ValueError(), is_permanent=True)], NOW)
    assert await rows.all(
        """
        SELECT id, name, job_type, cron, enabled, next_run_at
        FROM job_schedules
        WHERE enabled = true;
        """
    ) == []  # fmt: skip
    recent = await rows.all(
        """
        SELECT run_id, job_type, status, started_at, finished_at, error
        FROM job_schedule_runs
        ORDER BY started_at DESC
        LIMIT 20;
        """
    )
    assert sorted(row.status for row in recent) == ["FAILED", "RUNNING", "RUNNING"]
    failed = await rows.all(
        """
        SELECT * FROM job_schedule_runs
        WHERE status = 'FAILED'
        AND started_at > NOW() - INTERVAL '24 hours';
        """
    )
    assert [row.run_id for row in failed] == [runs[0].run_id]
    await rows.change(
        "UPDATE job_schedule_runs SET started_at = NOW() - INTERVAL '40 days' WHERE status = 'FAILED'"
    )
    await rows.change(
        "UPDATE job_schedule_runs SET started_at = NOW() - INTERVAL '2 hours' WHERE run_id = :run_id",
        run_id=runs[1].run_id,
    )
    cleaned_up = await rows.change(
        """
        DELETE FROM job_schedule_runs
        WHERE started_at < NOW() - INTERVAL '30 days';
        """
    )
    reset = await rows.change(
        """
        UPDATE job_schedule_runs
        SET status = 'FAILED', error = 'Service restart cleanup'
        WHERE status = 'RUNNING'
        AND started_at < NOW() - INTERVAL '1 hour';
        """
    )
    assert (cleaned_up, reset) == (1, 1)
    assert await rows.statuses() == {"FAILED": 1, "RUNNING": 1}


async def test_history_does_not_slow_the_queue(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(20_000)
    await rows.change("UPDATE job_schedule_runs SET status = 'COMPLETED', worker_id = 'gone'")
    await rows.pending_runs(500, first_job_id=100_000)
    await rows.change("ANALYZE job_schedule_runs")
    leaf = await rows.value("SELECT DISTINCT tableoid::regclass::text FROM job_schedule_runs")

    async def plan(statement: str, values: dict[str, Any]) -> str:
        async with database.transaction() as connection:
            explained = await connection.execute(text(f"EXPLAIN (COSTS OFF) {statement}"), values)
            return "\n".join(explained.scalars())

    claiming = await plan(runs_repository._CLAIM.text, {"worker_id": worker, "types": ["alert"], "limit": 100})
    assert f"Index Scan using {leaf}_priority_available_at_id_idx" in claiming
    assert f"Seq Scan on {leaf}" not in claiming

    runs = await queue.claim_runs(worker, ALERTS, 100)
    keys = runs_repository._keys(worker, runs)
    ending = {**keys, "results": ["{}"] * len(runs), "snapshots": [None] * len(runs)}
    for statement, values in (
        (runs_repository._HELD, keys),
        (runs_repository._COMPLETE, ending),
        (runs_repository._PUT_BACK, {**keys, "delay": NOW}),
    ):
        by_key = await plan(statement.text, values)
        assert f"Index Scan using {leaf}_pkey" in by_key
        assert f"Seq Scan on {leaf}" not in by_key
        assert "Nested Loop" in by_key, "the leaves are chosen by each run's key"


async def test_a_user_sees_own_runs_newest_first(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId, market_clock: FakeMarketClock
) -> None:
    jobs = JobsService(PostgresJobsRepository(database), market_clock)
    await rows.pending_runs(3)
    await rows.pending_runs(1, job_type="report", retention_class="other", first_job_id=9)
    await rows.change("UPDATE job_schedule_runs SET user_id = 2 WHERE job_id = 3")
    await complete(database, worker, await queue.claim_runs(worker, ALERTS, 1))

    async def jobs_listed(**wanted: Any) -> list[int | None]:
        return [run.job_id for run in await jobs.list_runs(RunFilter(user_id=1, **wanted))]

    assert await jobs_listed() == [9, 2, 1]
    assert await jobs_listed(limit=1) == [9]
    assert await jobs_listed(statuses=(RunStatus.COMPLETED,)) == [1]
    assert await jobs_listed(job_id=2) == [2]
    assert await jobs_listed(job_type=JobType.REPORT) == [9]
    (done,) = await jobs.list_runs(RunFilter(user_id=1, job_id=1))
    assert await jobs.get_run(1, done.run_id) == done
    assert done.result == {"of": 1}
    with pytest.raises(NotFound):
        await jobs.get_run(2, done.run_id)
