"""The run table as a queue: who gets what, in which order, and that only the holder changes it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from tests.integration.claiming import RUNTIME, take

from atf.errors import IllegalTransition, NotFound, UnstorableData
from atf.jobs.jobs_service import JobsService
from atf.jobs.queue import Cancelled, Outcomes, PutBack, Wanted
from atf.jobs.run import ClaimedRun, Completion, Failure, JobType, RunFilter, RunStatus, WorkerId
from atf.storage import run_queue
from atf.storage.columns import integers
from atf.storage.database import Database
from atf.storage.run_queue import PostgresRunQueue, complete_runs, held_runs
from atf.storage.schedules_repository import PostgresJobsRepository
from atf.storage.workers_repository import PostgresLeases

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

    from atf.testing.clocks import FakeMarketClock

NOW = timedelta(0)
LATER = timedelta(hours=1)


@pytest.fixture
async def queue(database: Database) -> AsyncIterator[PostgresRunQueue]:
    queue = PostgresRunQueue(database)
    yield queue
    await queue.close()


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
    (run,) = await take(queue, worker, 10)
    stored = await the_run(rows)
    assert (run.job_type, run.job_id, run.user_id, run.attempt, run.max_attempts) == (JobType.ALERT, 7, 1, 1, 5)
    assert (run.key.id, run.key.retention_class, run.run_id) == (stored.id, "alert", stored.run_id)
    assert run.key.scheduled_for == stored.scheduled_for
    assert (run.version, run.snapshot) == ("1", {})  # runs of a batch leave their snapshots in the database
    assert (stored.status, stored.worker_id) == ("RUNNING", worker)
    assert stored.started_at is not None


async def test_only_a_live_lease_claims(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(1)
    assert await take(queue, WorkerId("nobody"), 10) == []
    await rows.expire(worker)
    assert await take(queue, worker, 10) == []
    assert await rows.statuses() == {"PENDING": 1}


@pytest.mark.parametrize("is_batch", [True, False], ids=["batch", "limited"])
async def test_sixteen_claimers_get_each_of_50000_runs_once(
    database: Database, rows: Rows, is_batch: bool
) -> None:
    await rows.pending_runs(50_000)
    queues = [PostgresRunQueue(database) for _ in range(16)]

    async def drain(number: int) -> list[int]:
        claimer = await rows.worker(f"claimer-{number}")
        claimed: list[int] = []
        while runs := await take(queues[number], claimer, 500, is_batch=is_batch):
            claimed += [run.key.id for run in runs]
        return claimed

    try:
        shares = await asyncio.gather(*(drain(number) for number in range(16)))
    finally:
        await asyncio.gather(*(queue.close() for queue in queues))
    everything = [run_id for share in shares for run_id in share]
    assert len(everything) == len(set(everything)) == 50_000
    assert sum(1 for share in shares if share) > 8


async def test_a_step_of_priority_is_worth_a_minute_of_waiting_and_ids_decide_between_equals(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(2, first_job_id=10)
    await rows.pending_runs(1, first_job_id=20, available_in=-LATER)
    await rows.pending_runs(1, first_job_id=30, priority=5, available_in=-2 * LATER)
    await rows.pending_runs(1, first_job_id=40, priority=-5)
    await rows.pending_runs(1, first_job_id=50, priority=1)
    order = [(await take(queue, worker, 1))[0].job_id for _ in range(6)]
    assert order == [30, 20, 40, 10, 11, 50]


async def test_only_own_types_are_claimed(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(2, job_type="report", retention_class="other")
    await rows.pending_runs(1)
    assert [run.job_type for run in await take(queue, worker, 10)] == [JobType.ALERT]
    both = await take(queue, worker, 10, JobType.ALERT, JobType.REPORT)
    assert [run.job_type for run in both] == [JobType.REPORT] * 2


async def test_what_is_available_later_is_not_claimed_yet(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1, available_in=LATER)
    assert await take(queue, worker, 10) == []
    await rows.change("UPDATE job_schedule_runs SET available_at = now(), sort_key = now()")
    assert len(await take(queue, worker, 10)) == 1


async def test_a_run_put_back_costs_no_attempt_and_waits(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1)
    for delay, claimable in ((NOW, 1), (LATER, 0)):
        runs = await take(queue, worker, 10)
        await queue.put_back(worker, runs, delay)
        run = await the_run(rows)
        assert (run.status, run.attempt, run.worker_id, run.started_at) == ("PENDING", 1, None, None)
        assert len(await take(queue, worker, 10)) == claimable
        await queue.hand_back(worker)
        await rows.change("UPDATE job_schedule_runs SET attempt = 1")


async def test_a_failure_is_tried_again_until_the_attempts_are_used_up(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1, max_attempts=3)
    seen = []
    while runs := await take(queue, worker, 10):
        await queue.fail(worker, [Failure(runs[0], ValueError("no luck"), is_permanent=False)])
        run = await the_run(rows)
        seen.append((run.status, run.attempt, run.error, run.finished_at is not None))
    assert seen == [
        ("PENDING", 2, "ValueError: no luck", False),
        ("PENDING", 3, "ValueError: no luck", False),
        ("FAILED", 3, "ValueError: no luck", True),
    ]


async def test_a_failure_waits_before_its_next_try(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(1)
    runs = await take(queue, worker, 10)
    await queue.fail(worker, [Failure(runs[0], ValueError(), is_permanent=False, retry_in=LATER)])
    assert await take(queue, worker, 10) == []


async def test_a_permanent_failure_ends_at_once(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(1, max_attempts=3)
    runs = await take(queue, worker, 10)
    await queue.fail(worker, [Failure(runs[0], ValueError("never"), is_permanent=True)])
    run = await the_run(rows)
    assert (run.status, run.attempt, run.error) == ("FAILED", 1, "ValueError: never")
    assert run.error_details == {"type": "ValueError", "message": "never", "traceback": "ValueError: never\n"}


@pytest.mark.parametrize("text_", ["a\0b" + "x" * 1_000_000, "a\ud800b"], ids=["NUL and a megabyte", "surrogate"])
async def test_no_error_text_keeps_a_failure_from_being_recorded(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId, text_: str
) -> None:
    await rows.pending_runs(1)
    runs = await take(queue, worker, 10)
    await queue.fail(worker, [Failure(runs[0], ValueError(text_), is_permanent=True)])
    run = await the_run(rows)
    assert run.status == "FAILED"
    assert run.error.startswith("ValueError: a")
    assert len(run.error) <= 10_000


async def test_a_completed_run_has_its_result_and_the_snapshot_that_was_used(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(2)
    first, second = await take(queue, worker, 10)
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
    late = await take(queue, worker, 10)
    await rows.expire(worker)
    await PostgresLeases(database).rescue()
    (mine,) = await take(queue, await rows.worker("second"), 10)
    before = await the_run(rows)

    assert await complete(database, worker, late) == frozenset()
    async with database.transaction() as connection:
        await complete_runs(connection, worker, [Completion(late[0], {})])
    await queue.fail(worker, [Failure(late[0], ValueError(), is_permanent=True)])
    await queue.put_back(worker, late, NOW)
    assert await queue.hand_back(worker) == 0

    assert await the_run(rows) == before
    assert mine.attempt == 2
    assert await complete(database, WorkerId("second"), [mine]) == {mine.key.id}


async def test_an_attempt_that_was_given_back_does_not_complete_the_next_one_of_the_same_worker(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1)
    old = await take(queue, worker, 10)
    assert await queue.hand_back(worker) == 1
    new = await take(queue, worker, 10)
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
    runs = await take(queue, worker, 10)
    assert await rows.change(f"{maintenance} AND job_id <= 3") == 3
    before = await rows.all("SELECT * FROM job_schedule_runs WHERE job_id <= 3 ORDER BY id")
    assert len(await complete(database, worker, runs)) == 7
    await queue.fail(worker, [Failure(run, ValueError(), is_permanent=False) for run in runs])
    await queue.put_back(worker, runs, NOW)
    assert await rows.all("SELECT * FROM job_schedule_runs WHERE job_id <= 3 ORDER BY id") == before
    assert (await rows.statuses())["COMPLETED"] == 7


async def test_what_is_being_ended_by_a_person_is_waited_for_and_left_alone(
    database: Database, queue: PostgresRunQueue, rows: Rows, worker: WorkerId, eventually: Any
) -> None:
    await rows.pending_runs(2)
    runs = await take(queue, worker, 10)
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
    await complete(database, worker, await take(queue, worker, 1))
    await take(queue, worker, 2)
    await take(queue, await rows.worker("second"), 1)
    assert await queue.hand_back(worker) == 2
    assert await rows.statuses() == {"COMPLETED": 1, "PENDING": 2, "RUNNING": 1}
    assert await rows.column("SELECT attempt FROM job_schedule_runs WHERE status = 'PENDING'") == [2, 2]


async def test_empty_batches_are_harmless(database: Database, queue: PostgresRunQueue, worker: WorkerId) -> None:
    await queue.put_back(worker, [], NOW)
    await queue.fail(worker, [])
    assert await complete(database, worker, []) == frozenset()
    assert await queue.claim_runs(worker, []) == []


async def test_the_missions_queries_run_unchanged(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(3)
    runs = await take(queue, worker, 3)
    await queue.fail(worker, [Failure(runs[0], ValueError(), is_permanent=True)])
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
    await rows.change("UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = 'gone'")
    await rows.change("UPDATE job_schedule_runs SET status = 'COMPLETED'")
    await rows.pending_runs(5_500, first_job_id=100_000)
    await rows.change("ANALYZE job_schedule_runs")
    leaf = await rows.value("SELECT DISTINCT tableoid::regclass::text FROM job_schedule_runs")

    async def plan(statement: str, values: dict[str, Any], *settings: str) -> str:
        explain = f"EXPLAIN (COSTS OFF) {statement}".encode()
        async with await database.connect() as connection, connection.transaction():
            for setting in settings:
                await connection.execute(setting.encode())
            explained = await (await connection.execute(explain, values)).fetchall()
            return "\n".join(row[0] for row in explained)

    claim = {"worker_id": worker, "runtimes": "{}"}
    limited = {"types": ["alert"], "limits": [100], "user_limit": 5}
    for statement, values in (
        (run_queue._CLAIM_BATCH, {**claim, "job_type": "alert", "limit": 100}),
        (run_queue._CLAIM, {**claim, **limited}),
    ):
        claiming = await plan(statement, values)
        assert f"Index Scan using {leaf}_job_type_sort_key_id_idx" in claiming
        assert f"Seq Scan on {leaf}" not in claiming

    # Of all in a leaf, with statistics that know no runs of this worker: as when a whole minute's alerts end.
    runs = await take(queue, worker, 5_000)
    keys = run_queue._keys(worker, runs)
    numbers = integers([1] * len(runs))
    ending = {**keys, "results": ["{}"], "result_numbers": numbers, "snapshots": [], "snapshot_numbers": numbers}
    for ending_statement, values in (
        (run_queue._HELD, keys),
        (run_queue._COMPLETE, ending),
        (run_queue._PUT_BACK, {**keys, "delays": [NOW] * len(runs)}),
    ):
        statement = re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", ending_statement.text)
        by_key = await plan(statement, values, run_queue._BY_KEY.text)
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
    await complete(database, worker, await take(queue, worker, 1))

    async def jobs_listed(**wanted: Any) -> list[int | None]:
        return [run.job_id for run in await jobs.list_runs(RunFilter(user_id=1, **wanted))]

    assert await jobs_listed() == [9, 2, 1]
    assert await jobs_listed(limit=1) == [9]
    assert await jobs_listed(statuses=(RunStatus.COMPLETED,)) == [1]
    assert await jobs_listed(job_id=2, job_type=JobType.ALERT) == [2]
    assert await jobs_listed(job_type=JobType.REPORT) == [9]
    (done,) = await jobs.list_runs(RunFilter(user_id=1, job_id=1, job_type=JobType.ALERT))
    assert await jobs.get_run(1, done.run_id) == done
    assert done.result == {"of": 1}
    with pytest.raises(NotFound):
        await jobs.get_run(2, done.run_id)


# --- limits


async def schedules(rows: Rows, *max_instances: int) -> list[int]:
    """Store schedules that allow so many instances each; their ids."""
    await rows.change("INSERT INTO schedule_groups (cron, timezone) VALUES ('* * * * *', 'UTC')")
    await rows.change(
        """
        INSERT INTO job_schedules (user_id, name, job_type, target, cron, effective_from, group_id, max_instances)
        SELECT 1, 'n', 'report', 't', '* * * * *', now(), g.id, m
        FROM schedule_groups g, unnest(CAST(:most AS int[])) m
        """,
        most=list(max_instances),
    )
    return await rows.column("SELECT id FROM job_schedules ORDER BY id")


async def runs_of(rows: Rows, job_id: int | None, count: int, *, user_id: int = 1) -> None:
    """Store due report runs of one schedule, a minute apart."""
    await rows.partitions()
    await rows.change(
        """
        INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, job_snapshot)
        SELECT 'report', :job_id, :user_id, now() - n * interval '1 second', 'other', '{}'
        FROM generate_series(1, :count) n
        """,
        job_id=job_id,
        user_id=user_id,
        count=count,
    )


async def test_no_more_instances_of_a_schedule_run_than_it_allows(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    one, three = await schedules(rows, 1, 3)
    await runs_of(rows, one, 5)
    await runs_of(rows, three, 5)
    first = await take(queue, worker, 10, "report", is_batch=False)
    assert sorted(run.job_id or 0 for run in first) == [one, three, three, three]
    assert await take(queue, worker, 10, "report", is_batch=False) == []
    await queue.finish(worker, Outcomes(completions=[Completion(run, {}) for run in first if run.job_id == one]))
    assert [run.job_id for run in await take(queue, worker, 10, "report", is_batch=False)] == [one]


async def test_sixteen_claimers_at_once_do_not_exceed_the_instances_of_a_schedule(
    database: Database, rows: Rows, worker: WorkerId
) -> None:
    (schedule,) = await schedules(rows, 3)
    await runs_of(rows, schedule, 50)
    queues = [PostgresRunQueue(database) for _ in range(16)]
    try:
        shares = await asyncio.gather(*(take(queue, worker, 2, "report", is_batch=False) for queue in queues))
    finally:
        await asyncio.gather(*(queue.close() for queue in queues))
    assert sum(map(len, shares)) == 3


async def test_a_user_has_no_more_running_than_the_limit_and_others_are_served(
    database: Database, rows: Rows, worker: WorkerId
) -> None:
    await runs_of(rows, None, 5, user_id=1)
    await runs_of(rows, None, 1, user_id=2)
    queue = PostgresRunQueue(database, user_limit=2)
    try:
        at_once = await take(queue, worker, 10, "report", is_batch=False)
        later = await take(queue, worker, 10, "report", is_batch=False)
    finally:
        await queue.close()
    assert sorted(run.user_id or 0 for run in at_once) == [1, 1, 2]
    assert later == []


async def test_one_claim_serves_each_type_up_to_its_own_limit(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(5, job_type="report", retention_class="other")
    await rows.pending_runs(5, job_type="backup", retention_class="other", first_job_id=50)
    await rows.pending_runs(5, job_type="screener", retention_class="other", first_job_id=90)
    wanted = [Wanted("report", 2, RUNTIME), Wanted("backup", 3, RUNTIME)]
    claimed = await queue.claim_runs(worker, wanted)
    assert sorted(run.job_type for run in claimed) == ["backup"] * 3 + ["report"] * 2


async def test_a_claimed_run_has_the_deadline_of_its_type_or_of_its_own(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(2, job_type="report", retention_class="other")
    own = """jsonb_build_object('limits', jsonb_build_object('max_runtime_seconds', 7))"""
    await rows.change(f"UPDATE job_schedule_runs SET job_snapshot = {own} WHERE job_id = 2")
    await take(queue, worker, 5, "report", is_batch=False)
    seconds = "round(extract(epoch FROM deadline_at - started_at))::int"
    assert await rows.column(f"SELECT {seconds} FROM job_schedule_runs ORDER BY job_id") == [300, 7]


@pytest.mark.parametrize("is_batch", [True, False], ids=["batch", "limited"])
@pytest.mark.parametrize(
    "snapshot",
    [
        '{"limits": {"max_runtime_seconds": "soon"}}',
        '{"limits": {"max_runtime_seconds": -7}}',
        '{"limits": {"max_runtime_seconds": 1e400}}',
        '{"limits": {"max_runtime_seconds": 1e-400}}',
        '{"limits": {"max_runtime_seconds": [7]}}',
        '{"limits": "none"}',
        "[1]",
        "null",
        '"text"',
    ],
)
async def test_a_snapshot_that_a_person_has_spoilt_fails_no_claim(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId, snapshot: str, is_batch: bool
) -> None:
    await rows.pending_runs(2, job_type="report", retention_class="other")
    await rows.change(
        "UPDATE job_schedule_runs SET job_snapshot = CAST(:s AS jsonb) WHERE job_id = 1", s=snapshot
    )
    claimed = await take(queue, worker, 5, "report", is_batch=is_batch)
    assert {run.job_id for run in claimed} == {1, 2}
    for run in claimed:
        assert run.snapshot.get("target") is None
    seconds = "round(extract(epoch FROM deadline_at - started_at))::int"
    assert await rows.column(f"SELECT {seconds} FROM job_schedule_runs ORDER BY job_id") == [300, 300]


# --- what becomes of attempts


async def test_of_a_long_traceback_the_end_is_kept(queue: PostgresRunQueue, rows: Rows, worker: WorkerId) -> None:
    await rows.pending_runs(1)
    runs = await take(queue, worker, 1)
    error = ValueError("the last word")
    error.__cause__ = KeyError("x" * 20_000)
    await queue.fail(worker, [Failure(runs[0], error, is_permanent=True)])
    traceback = (await the_run(rows)).error_details["traceback"]
    assert traceback.endswith("ValueError: the last word\n")
    assert len(traceback) <= 8_000


async def test_every_attempt_is_remembered_and_the_exhausted_run_goes_to_the_dead_letters(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(1, max_attempts=2)
    for number in (1, 2):
        (run,) = await take(queue, worker, 1)
        await queue.fail(worker, [Failure(run, ValueError(f"no luck {number}"), is_permanent=False)])
    ended = await the_run(rows)
    assert (ended.status, ended.worker_id) == ("FAILED", None)
    told = [(one["attempt"], one["worker_id"], one["outcome"], one["error"]["message"]) for one in ended.attempts]
    assert told == [(1, worker, "failed", "no luck 1"), (2, worker, "failed", "no luck 2")]
    (letter,) = await rows.all("SELECT * FROM job_dead_letters")
    assert (letter.run_id, letter.reason, letter.attempt) == (ended.run_id, "exhausted", 2)
    assert letter.attempts == ended.attempts


async def test_a_permanent_failure_is_a_dead_letter_and_a_retried_one_is_not(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(2)
    first, second = await take(queue, worker, 2)
    await queue.fail(worker, [Failure(first, ValueError(), True), Failure(second, ValueError(), False)])
    letters = await rows.all("SELECT run_id, reason FROM job_dead_letters")
    assert [(one.run_id, one.reason) for one in letters] == [(first.run_id, "permanent")]


async def test_handing_back_costs_an_attempt_but_brings_no_run_nearer_to_its_last(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(2, max_attempts=1)
    kept, returned = await take(queue, worker, 2)
    assert await queue.hand_back(worker, keep=[kept.key.id]) == 1
    rest = await rows.all("SELECT * FROM job_schedule_runs WHERE id = :id", id=returned.key.id)
    assert [(run.status, run.attempt, run.max_attempts) for run in rest] == [("PENDING", 2, 2)]
    assert rest[0].attempts[0]["outcome"] == "handed_back"
    (again,) = await take(queue, worker, 2)
    assert (again.run_id, again.attempt) == (returned.run_id, 2)


async def test_whatever_gives_a_run_back_ends_it_instead_if_it_is_to_be_cancelled(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(3)
    first, second, third = await take(queue, worker, 3)
    await rows.change("UPDATE job_schedule_runs SET cancel_requested = true")
    assert await queue.cancel_requests(worker) == {run.key.id for run in (first, second, third)}
    await queue.fail(worker, [Failure(first, ValueError(), is_permanent=False)])
    await queue.put_back(worker, [second], NOW)
    await queue.hand_back(worker)
    assert await rows.statuses() == {"CANCELLED": 3}
    assert await queue.cancel_requests(worker) == frozenset()


async def test_outcomes_of_all_kinds_are_one_transaction_and_the_lost_ones_are_told(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await rows.pending_runs(5)
    done, failed, back, stopped, lost = await take(queue, worker, 5)
    await rows.change("UPDATE job_schedule_runs SET status = 'FAILED' WHERE id = :id", id=lost.key.id)
    outcomes = Outcomes.of(
        [
            Completion(done, {"x": 1}),
            Completion(lost, {}),
            Failure(failed, ValueError(), True),
            PutBack(back),
            Cancelled(stopped),
        ]
    )
    held = await queue.finish(worker, outcomes)
    assert held == {run.key.id for run in (done, failed, back, stopped)}
    assert await rows.statuses() == {"COMPLETED": 1, "FAILED": 2, "PENDING": 1, "CANCELLED": 1}


@pytest.mark.parametrize(
    "result",
    [{"x": float("nan")}, {"x": object()}, {"x": "\0"}, {"x": "x" * 2_000_000}],
    ids=["nan", "object", "nul", "size"],
)
async def test_a_result_that_cannot_be_stored_is_refused_and_nothing_is_changed(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId, result: dict[str, Any]
) -> None:
    await rows.pending_runs(2)
    one, other = await take(queue, worker, 2)
    with pytest.raises(UnstorableData):
        await queue.finish(worker, Outcomes(completions=[Completion(one, {}), Completion(other, result)]))
    assert await rows.statuses() == {"RUNNING": 2}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (before, after)
        for before in RunStatus
        for after in RunStatus
        if before is not after and not before.may_become(after)
    ],
)
async def test_the_database_refuses_what_the_transition_table_does_not_have(
    rows: Rows, before: RunStatus, after: RunStatus
) -> None:
    await rows.pending_runs(1)
    if before is not RunStatus.PENDING:
        await rows.change("UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = 'w'")
        if before is not RunStatus.RUNNING:
            await rows.change(f"UPDATE job_schedule_runs SET status = '{before}'")
    with pytest.raises(IllegalTransition, match=f"cannot go from {before} to {after}"):
        await rows.change(f"UPDATE job_schedule_runs SET status = '{after}'")


@pytest.mark.parametrize("after", [RunStatus.PENDING, RunStatus.FAILED, RunStatus.CANCELLED])
async def test_taking_a_running_run_away_by_hand_takes_it_from_its_worker(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId, after: RunStatus
) -> None:
    await rows.pending_runs(1)
    await take(queue, worker, 1)
    await rows.change(f"UPDATE job_schedule_runs SET status = '{after}'")
    run = await the_run(rows)
    assert run.worker_id is None
    assert (run.finished_at is None) == (after is RunStatus.PENDING)


async def test_a_crowd_of_one_user_does_not_keep_another_waiting(
    queue: PostgresRunQueue, rows: Rows, worker: WorkerId
) -> None:
    await runs_of(rows, None, 200, user_id=1)
    await rows.change(
        """
        UPDATE job_schedule_runs r SET sort_key = job_sort_key(r.enqueued_at, 0, p.position)
        FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS position FROM job_schedule_runs) p
        WHERE p.id = r.id
        """
    )
    await runs_of(rows, None, 1, user_id=2)
    a_second_later = "(SELECT min(enqueued_at) + interval '1 second' FROM job_schedule_runs)"
    await rows.change(f"UPDATE job_schedule_runs SET sort_key = {a_second_later} WHERE user_id = 2")
    claimed = await take(queue, worker, 201, "report", is_batch=False)
    # A crowd's runs stand 10 ms apart, so a hundred of them, and the one that shares the instant, go first.
    assert [run.user_id for run in claimed].index(2) == 101
