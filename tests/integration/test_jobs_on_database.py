"""JobsService on the database: what users and outside programs do with schedules, runs and dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from atf.bootstrap.job_types import check_alert_job
from atf.errors import Conflict, IllegalTransition, InvalidInput, NotFound
from atf.jobs.dead_letters import DeadLetterFilter
from atf.jobs.job_type import JobTypes
from atf.jobs.job_types_builtin import builtin_types
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import RunFilter, RunId, RunSort, RunStatus
from atf.jobs.run_request import RunCreate, RunUpdate
from atf.jobs.schedules_service import UserLimits
from atf.schedules.schedule import Schedule, ScheduleCreate, ScheduleUpdate
from atf.security.user import Quotas
from atf.storage.database import Database
from atf.storage.runs_repository import list_statement
from atf.storage.schedules_repository import PostgresJobsRepository

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

    from atf.testing.clocks import FakeMarketClock

OWNER, STRANGER = 1, 2
TYPES = JobTypes(builtin_types(check_alert_job))
HELLO = RunCreate("notification", "me", {"message": "hello"})
DAILY = ScheduleCreate("daily", "report", "daily_summary", "0 9 * * *", max_runtime_seconds=20, max_attempts=7)
ALERT = {"ticker": "AAPL", "timeframe": "1d", "rule": {"indicator": "rsi", "operator": ">", "value": 70}}


@pytest.fixture
def jobs(database: Database, market_clock: FakeMarketClock) -> JobsService:
    return JobsService(PostgresJobsRepository(database), market_clock, types=TYPES)


@pytest.fixture
async def stranger(rows: Rows) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('stranger', 'trader')")


@pytest.fixture
async def heard(database: Database) -> AsyncIterator[Heard]:
    async with await psycopg.AsyncConnection.connect(database.direct_url, autocommit=True) as connection:
        for channel in ("atf_runs", "atf_schedules"):
            await connection.execute(f"LISTEN {channel}".encode())
        yield Heard(connection)


class Heard:
    """What was notified since the last look."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def all(self) -> set[tuple[str, str]]:
        return {(one.channel, one.payload) async for one in self._connection.notifies(timeout=0.3)}


async def statuses(rows: Rows) -> list[str]:
    return await rows.column("SELECT status FROM job_schedule_runs ORDER BY id")


# ---------------------------------------------------------------- schedules


async def test_a_changed_time_moves_the_schedule_and_starts_from_now(
    jobs: JobsService, rows: Rows, market_clock: FakeMarketClock, heard: Heard
) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    await heard.all()
    market_clock.at += timedelta(hours=30)
    moved = await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(cron="0 * * * *", timezone="Asia/Tokyo"))
    assert moved == await jobs.get_schedule(OWNER, made.id)
    assert (moved.version, moved.effective_from, moved.updated_at) == (2, market_clock.at, market_clock.at)
    assert moved.next_run_at == market_clock.at.replace(minute=0) + timedelta(hours=1)
    groups = await rows.all(
        "SELECT g.cron, g.timezone FROM schedule_groups g JOIN job_schedules s ON s.group_id = g.id"
    )
    assert [tuple(group) for group in groups] == [("0 * * * *", "Asia/Tokyo")]
    assert ("atf_schedules", "") in await heard.all()


async def test_a_change_of_other_things_keeps_the_time(jobs: JobsService, market_clock: FakeMarketClock) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    market_clock.at += timedelta(hours=1)
    changed = await jobs.update_schedule(
        OWNER, made.id, ScheduleUpdate(priority=-5, max_attempts=None, misfire_policy="skip", coalesce=True)
    )
    assert (changed.effective_from, changed.next_run_at) == (made.effective_from, made.next_run_at)
    assert (changed.priority, changed.max_attempts, changed.misfire_policy, changed.coalesce) == (
        -5,
        None,
        "skip",
        True,
    )
    assert changed.max_runtime_seconds == 20


async def test_of_two_changes_at_once_one_is_refused(jobs: JobsService) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    changes = [jobs.update_schedule(OWNER, made.id, ScheduleUpdate(priority=n, version=1)) for n in range(5)]
    ended = await asyncio.gather(*changes, return_exceptions=True)
    (won,) = [one for one in ended if isinstance(one, Schedule)]
    assert sum(isinstance(one, Conflict) for one in ended) == 4
    assert await jobs.get_schedule(OWNER, made.id) == won


async def test_a_refused_change_stores_nothing_half(jobs: JobsService, rows: Rows) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    stale = ScheduleUpdate(cron="1 1 1 1 *", version=9)
    with pytest.raises(Conflict):
        await jobs.update_schedule(OWNER, made.id, stale)
    with pytest.raises(InvalidInput, match="contradicts"):
        await jobs.update_schedule(
            OWNER, made.id, ScheduleUpdate(task_params={"report_type": "portfolio_analysis"})
        )
    assert await jobs.get_schedule(OWNER, made.id) == made
    assert await rows.column("SELECT cron FROM schedule_groups") == ["0 9 * * *"]


async def test_a_version_that_changes_between_look_and_write_is_not_overwritten(
    database: Database, market_clock: FakeMarketClock, rows: Rows
) -> None:
    class Slow(PostgresJobsRepository):
        async def update_schedule(self, known: Schedule, *args: Any, **more: Any) -> Schedule | None:
            await rows.change("UPDATE job_schedules SET name = 'theirs', version = version + 1")
            return await super().update_schedule(known, *args, **more)

    jobs = JobsService(Slow(database), market_clock, types=TYPES)
    made = await jobs.create_schedule(OWNER, DAILY)
    with pytest.raises(Conflict, match="changed by somebody else"):
        await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(name="ours"))
    assert (await jobs.get_schedule(OWNER, made.id)).name == "theirs"


async def test_a_paused_schedule_that_moves_stays_paused(jobs: JobsService) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    await jobs.pause_schedule(OWNER, made.id)
    moved = await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(cron="0 10 * * *"))
    assert (moved.enabled, moved.next_run_at) == (False, None)
    resumed = await jobs.resume_schedule(OWNER, made.id)
    assert resumed.next_run_at is not None
    assert resumed.next_run_at.hour == 10


async def test_an_alert_s_changed_configuration_is_checked(jobs: JobsService) -> None:
    made = await jobs.create_schedule(
        OWNER, ScheduleCreate("hot", "alert", "AAPL", "0 0 * * *", task_params=ALERT)
    )
    wrong = {**ALERT, "rule": {**ALERT["rule"], "value": "x"}}  # type: ignore[dict-item]
    with pytest.raises(InvalidInput, match=r"^task_params\.rule\.value: "):
        await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(task_params=wrong))
    changed = {**ALERT, "ticker": "MSFT"}
    moved = await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(target="MSFT", task_params=changed))
    assert (moved.target, moved.task_params["ticker"]) == ("MSFT", "MSFT")


@pytest.mark.usefixtures("stranger")
async def test_what_belongs_to_another_user_is_not_found(jobs: JobsService) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    run = await jobs.create_run(OWNER, HELLO)
    for attempt in (
        jobs.update_schedule(STRANGER, made.id, ScheduleUpdate(name="mine")),
        jobs.trigger_schedule(STRANGER, made.id),
        jobs.cancel_run(STRANGER, run.run_id),
        jobs.retry_run(STRANGER, run.run_id),
        jobs.get_run(STRANGER, run.run_id),
        jobs.get_dead_letter(STRANGER, 1),
        jobs.drop_dead_letter(STRANGER, 1),
    ):
        with pytest.raises(NotFound):
            await attempt


# ---------------------------------------------------------------- making runs


async def test_a_trigger_makes_a_run_of_the_schedule_as_it_is_now(
    jobs: JobsService, rows: Rows, heard: Heard
) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    before = datetime.now(UTC)
    run = await jobs.trigger_schedule(OWNER, made.id)
    assert (run.job_id, run.job_type, run.user_id, run.status) == (made.id, "report", OWNER, RunStatus.PENDING)
    assert before <= run.scheduled_for <= datetime.now(UTC)
    assert (run.attempt, run.max_attempts) == (1, 7)
    assert run.snapshot == {
        "name": "daily",
        "target": "daily_summary",
        "version": 1,
        "task_params": {"report_type": "daily_summary"},
        "limits": {"max_runtime_seconds": 20},
    }
    assert await rows.column("SELECT retention_class FROM job_schedule_runs") == ["other"]
    assert ("atf_runs", "") in await heard.all()
    await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(name="weekly"))
    assert (await jobs.get_run(OWNER, run.run_id)).snapshot == run.snapshot


async def test_a_paused_schedule_may_be_triggered_and_a_deleted_one_not(jobs: JobsService, rows: Rows) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    await jobs.pause_schedule(OWNER, made.id)
    assert (await jobs.trigger_schedule(OWNER, made.id)).status is RunStatus.PENDING
    await jobs.delete_schedule(OWNER, made.id)
    with pytest.raises(NotFound):
        await jobs.trigger_schedule(OWNER, made.id)
    assert await statuses(rows) == ["CANCELLED"]


async def test_triggers_at_once_all_make_a_run(jobs: JobsService, rows: Rows) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    runs = await asyncio.gather(*(jobs.trigger_schedule(OWNER, made.id) for _ in range(20)))
    assert len({run.run_id for run in runs}) == 20
    assert len(set(await rows.column("SELECT scheduled_for FROM job_schedule_runs"))) == 20


async def test_in_a_replay_runs_belong_to_the_replay_at_its_time(
    jobs: JobsService, rows: Rows, market_clock: FakeMarketClock
) -> None:
    market_clock.is_replay, market_clock.at = True, datetime(2012, 5, 1, tzinfo=UTC)
    made = await jobs.create_schedule(OWNER, DAILY)
    first, second = [await jobs.trigger_schedule(OWNER, made.id) for _ in range(2)]
    alone = await jobs.create_run(OWNER, HELLO)
    assert set(await rows.column("SELECT retention_class FROM job_schedule_runs")) == {"replay"}
    assert first.scheduled_for == alone.scheduled_for == market_clock.at
    assert second.scheduled_for == market_clock.at + timedelta(microseconds=1)


async def test_a_run_of_its_own_is_stored_as_asked(jobs: JobsService) -> None:
    run = await jobs.create_run(OWNER, RunCreate("screener", "A,B", priority=-3))
    assert (run.job_id, run.priority, run.max_attempts) == (None, -3, 3)
    assert run.snapshot == {
        "name": "screener A,B",
        "target": "A,B",
        "task_params": {"screener_set": "custom", "tickers": ["A", "B"]},
    }
    assert await jobs.get_run(OWNER, run.run_id) == run


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (RunCreate("dance", "x"), r'^job_type: "dance" is not one of'),
        (RunCreate("alert", "AAPL", ALERT), r'^job_type: runs of "alert" belong to a schedule'),
        (RunCreate("notification", "me"), r"^task_params\.message: is missing"),
        (RunCreate("report", "daily_summary", {"report_type": "portfolio_analysis"}), "contradicts"),
        (RunCreate("backup", "", {}), "^target: "),
        (RunCreate("backup", "all", priority=1000), "^priority: "),
        (RunCreate("backup", "all", name="a\0b"), "^name: "),
        (RunCreate("backup", "all", available_at=datetime(2030, 1, 1)), "^available_at: "),  # noqa: DTZ001
    ],
)
async def test_a_run_that_is_not_right_is_refused_and_not_stored(
    jobs: JobsService, rows: Rows, request_: RunCreate, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await jobs.create_run(OWNER, request_)
    assert await statuses(rows) == []


async def test_a_run_for_later_waits_outside_of_the_queue(jobs: JobsService, rows: Rows) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    run = await jobs.create_run(OWNER, RunCreate("backup", "all", available_at=later))
    assert run.available_at == later
    assert await rows.column("SELECT sort_key FROM job_schedule_runs") == [None]
    assert await jobs.get_pending_runs() == []
    with pytest.raises(Conflict, match="may not begin yet"):
        await jobs.claim_run(run.run_id, "me")


@pytest.mark.usefixtures("stranger")
async def test_a_crowd_of_one_user_does_not_keep_another_waiting(jobs: JobsService) -> None:
    crowd = [await jobs.create_run(OWNER, HELLO) for _ in range(30)]
    single = await jobs.create_run(STRANGER, HELLO)
    order = [run.run_id for run in await jobs.get_pending_runs("notification", 100)]
    assert order[0] == crowd[0].run_id
    assert order.index(single.run_id) < 30 - 1
    assert [run_id for run_id in order if run_id != single.run_id] == [run.run_id for run in crowd]


async def test_a_user_may_have_as_many_waiting_runs_as_allowed(
    database: Database, market_clock: FakeMarketClock
) -> None:
    limits = UserLimits(pending_runs=2)
    jobs = JobsService(PostgresJobsRepository(database), market_clock, types=TYPES, limits=limits)
    first = await jobs.create_run(OWNER, HELLO)
    await jobs.create_run(OWNER, RunCreate("backup", "all"))
    with pytest.raises(Conflict, match="2 runs are waiting already"):
        await jobs.create_run(OWNER, HELLO)
    await jobs.cancel_run(OWNER, first.run_id)
    await jobs.create_run(OWNER, HELLO)
    with pytest.raises(Conflict, match="2 runs are waiting already"):
        await jobs.retry_run(OWNER, first.run_id)


# ---------------------------------------------------------------- cancelling and repeating


async def test_a_waiting_run_is_cancelled_at_once(jobs: JobsService, rows: Rows) -> None:
    run = await jobs.create_run(OWNER, HELLO)
    assert await jobs.cancel_run(OWNER, run.run_id) is True
    cancelled = await jobs.get_run(OWNER, run.run_id)
    assert (cancelled.status, cancelled.finished_at is not None) == (RunStatus.CANCELLED, True)
    with pytest.raises(Conflict, match="is CANCELLED already"):
        await jobs.cancel_run(OWNER, run.run_id)


async def test_the_worker_of_a_running_run_is_asked_to_stop(jobs: JobsService) -> None:
    run = await jobs.create_run(OWNER, HELLO)
    await jobs.claim_run(run.run_id, "me")
    assert await jobs.cancel_run(OWNER, run.run_id) is False
    asked = await jobs.get_run(OWNER, run.run_id)
    assert (asked.status, asked.cancel_requested, asked.worker_id) == (RunStatus.RUNNING, True, "me")


async def test_a_run_that_has_ended_is_repeated_by_a_new_one_and_stays_as_it_is(jobs: JobsService) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    run = await jobs.trigger_schedule(OWNER, made.id)
    with pytest.raises(Conflict, match="is PENDING; only a run that has ended"):
        await jobs.retry_run(OWNER, run.run_id)
    await jobs.claim_run(run.run_id, "me")
    with pytest.raises(Conflict, match="is RUNNING"):
        await jobs.retry_run(OWNER, run.run_id)
    await jobs.fail(run.run_id, "me", "no data", permanent=True)
    old = await jobs.get_run(OWNER, run.run_id)
    again = await jobs.retry_run(OWNER, run.run_id)
    assert again.run_id != run.run_id
    assert (again.retry_of, again.status, again.attempt, again.max_attempts) == (run.run_id, "PENDING", 1, 7)
    assert (again.job_id, again.snapshot, again.error) == (run.job_id, run.snapshot, None)
    assert again.scheduled_for > run.scheduled_for
    assert await jobs.get_run(OWNER, run.run_id) == old
    assert old.status is RunStatus.FAILED


# ---------------------------------------------------------------- outside programs


async def test_an_outside_program_claims_and_completes(jobs: JobsService, rows: Rows) -> None:
    run = await jobs.create_run(OWNER, HELLO)
    claimed = await jobs.claim_run(run.run_id, "me")
    assert (claimed.run_id, claimed.attempt) == (run.run_id, 1)
    assert await rows.value("SELECT lease_expires_at > now() + interval '9 minutes' FROM workers") is True
    await jobs.complete(run.run_id, "me", {"sent": 1})
    done = await jobs.get_run(OWNER, run.run_id)
    assert (done.status, done.result, done.worker_id) == (RunStatus.COMPLETED, {"sent": 1}, "me")
    assert done.deadline_at is not None
    for late in (jobs.complete(run.run_id, "me", {}), jobs.fail(run.run_id, "me", "late")):
        with pytest.raises(Conflict, match="is not, or no longer, held by me"):
            await late
    with pytest.raises(Conflict, match="is COMPLETED"):
        await jobs.claim_run(run.run_id, "me")


async def test_a_run_is_claimed_by_one_of_many(jobs: JobsService) -> None:
    run = await jobs.create_run(OWNER, HELLO)
    claims = [jobs.claim_run(run.run_id, f"worker {n}") for n in range(8)]
    ended = await asyncio.gather(*claims, return_exceptions=True)
    assert sum(isinstance(one, Conflict) for one in ended) == 7
    assert [one.status for one in await jobs.list_runs(RunFilter(OWNER))] == [RunStatus.RUNNING]


async def test_claims_in_batches_take_the_next_due_runs_up_to_the_limit(jobs: JobsService, rows: Rows) -> None:
    made = [await jobs.create_run(OWNER, HELLO) for _ in range(4)]
    backup = await jobs.create_run(OWNER, RunCreate("backup", "all"))
    claimed = await jobs.claim_runs("me", ["notification", "backup"], 3)
    assert [one.run_id for one in claimed] == [run.run_id for run in made[:3]]
    rest = await jobs.claim_runs("me", ["notification", "backup"], 10)
    assert {one.run_id for one in rest} == {made[3].run_id, backup.run_id}
    assert await jobs.claim_runs("me", ["notification"], 10) == []
    assert await rows.column("SELECT worker_id FROM workers") == ["me"]
    with pytest.raises(InvalidInput, match=r"^job_type: "):
        await jobs.claim_runs("me", ["dance"], 1)
    with pytest.raises(InvalidInput, match=r"^worker_id: "):
        await jobs.claim_runs("", ["backup"], 1)


async def test_no_more_of_a_schedule_run_than_may(jobs: JobsService) -> None:
    made = await jobs.create_schedule(OWNER, ScheduleCreate("b", "backup", "all", "0 9 * * *", max_instances=1))
    first, second = [await jobs.trigger_schedule(OWNER, made.id) for _ in range(2)]
    await jobs.claim_run(first.run_id, "me")
    with pytest.raises(Conflict, match="or others of its schedule run"):
        await jobs.claim_run(second.run_id, "me")
    await jobs.complete(first.run_id, "me", {})
    assert (await jobs.claim_run(second.run_id, "me")).run_id == second.run_id


async def test_a_failure_is_tried_again_until_it_is_a_dead_letter(jobs: JobsService, rows: Rows) -> None:
    run = await jobs.create_run(OWNER, RunCreate("backup", "all"))  # two attempts
    await jobs.claim_run(run.run_id, "me")
    await jobs.fail(run.run_id, "me", "disk \0 full")
    waits = await jobs.get_run(OWNER, run.run_id)
    assert (waits.status, waits.attempt, waits.worker_id) == (RunStatus.PENDING, 2, None)
    assert waits.available_at > datetime.now(UTC) + timedelta(seconds=20)
    assert [one["attempt"] for one in waits.attempts] == [1]
    await rows.change("UPDATE job_schedule_runs SET available_at = now(), sort_key = now()")
    await jobs.claim_run(run.run_id, "me")
    await jobs.fail(run.run_id, "me", "disk full")
    (letter,) = await jobs.list_dead_letters(DeadLetterFilter(OWNER))
    assert (letter.run_id, letter.reason, letter.attempt) == (run.run_id, "exhausted", 2)
    assert [one["attempt"] for one in letter.attempts] == [1, 2]
    assert (await jobs.get_run(OWNER, run.run_id)).status is RunStatus.FAILED


async def test_what_was_taken_away_is_not_completed(jobs: JobsService, rows: Rows) -> None:
    run = await jobs.create_run(OWNER, HELLO)
    await jobs.claim_run(run.run_id, "slow")
    await rows.change(
        "UPDATE job_schedule_runs SET status = 'PENDING', attempt = 2, available_at = now(), sort_key = now()"
    )
    await jobs.claim_run(run.run_id, "quick")
    with pytest.raises(Conflict, match="no longer, held by slow"):
        await jobs.complete(run.run_id, "slow", {})
    assert (await jobs.get_run(OWNER, run.run_id)).worker_id == "quick"


async def test_the_fence_is_the_attempt_that_was_looked_at(
    database: Database, market_clock: FakeMarketClock, rows: Rows
) -> None:
    class Rescued(PostgresJobsRepository):
        """Between look and write the run goes to the same worker again, as its next attempt."""

        async def finish(self, *args: Any) -> frozenset[int]:
            await rows.change("UPDATE job_schedule_runs SET attempt = attempt + 1")
            return await super().finish(*args)

    jobs = JobsService(Rescued(database), market_clock, types=TYPES)
    run = await jobs.create_run(OWNER, HELLO)
    await jobs.claim_run(run.run_id, "me")
    with pytest.raises(Conflict, match="no longer, held by me"):
        await jobs.complete(run.run_id, "me", {})
    assert await statuses(rows) == ["RUNNING"]


async def test_the_mission_s_worker_pattern_works(jobs: JobsService) -> None:
    run = await jobs.create_run(OWNER, HELLO)
    (found,) = await jobs.get_pending_runs(job_type="notification", limit=1)
    await jobs.claim_run(found.run_id, "me")
    began = datetime.now(UTC)
    running = await jobs.update_run(
        run.run_id, RunUpdate(status=RunStatus.RUNNING, started_at=began, worker_id="me")
    )
    assert (running.status, running.started_at) == (RunStatus.RUNNING, began)
    ended = datetime.now(UTC)
    update = RunUpdate(status=RunStatus.COMPLETED, finished_at=ended, result={"sent": 1})
    done = await jobs.update_run(run.run_id, update)
    assert (done.status, done.finished_at, done.result) == (RunStatus.COMPLETED, ended, {"sent": 1})


async def test_a_run_may_become_running_without_a_claim_before(jobs: JobsService, rows: Rows) -> None:
    run = await jobs.create_run(OWNER, HELLO)
    with pytest.raises(InvalidInput, match=r"^worker_id: is missing"):
        await jobs.update_run(run.run_id, RunUpdate(status=RunStatus.RUNNING))
    await jobs.update_run(run.run_id, RunUpdate(status=RunStatus.RUNNING, worker_id="me"))
    assert await rows.column("SELECT worker_id FROM workers") == ["me"]
    with pytest.raises(Conflict, match="belongs to me"):
        await jobs.update_run(run.run_id, RunUpdate(status=RunStatus.COMPLETED, worker_id="you"))
    failed = await jobs.update_run(run.run_id, RunUpdate(status=RunStatus.FAILED, error="boom"))
    assert (failed.status, failed.error) == (RunStatus.FAILED, "boom")
    assert [one.reason for one in await jobs.list_dead_letters(DeadLetterFilter(OWNER))] == ["permanent"]


ALLOWED = {("PENDING", "RUNNING"), ("PENDING", "CANCELLED")} | {
    ("RUNNING", after) for after in ("PENDING", "COMPLETED", "FAILED", "CANCELLED")
}


@pytest.mark.parametrize("before", list(RunStatus))
@pytest.mark.parametrize("after", list(RunStatus))
async def test_updates_follow_the_transition_table(
    jobs: JobsService, rows: Rows, before: RunStatus, after: RunStatus
) -> None:
    run = await jobs.create_run(OWNER, HELLO)
    if before is not RunStatus.PENDING:
        await jobs.claim_run(run.run_id, "me")
    if before.is_final:
        await rows.change("UPDATE job_schedule_runs SET status = :status", status=str(before))
    update = RunUpdate(status=after, worker_id="me" if after is RunStatus.RUNNING else None)
    if before is after or (before, after) in ALLOWED:
        assert (await jobs.update_run(run.run_id, update)).status is after
        return
    with pytest.raises(Conflict, match=f"is {before} and cannot become {after}"):
        await jobs.update_run(run.run_id, update)
    assert await statuses(rows) == [before]
    with pytest.raises(IllegalTransition, match=f"cannot go from {before} to {after}"):
        await rows.change("UPDATE job_schedule_runs SET status = :status", status=str(after))


async def test_runs_that_are_not_there_are_not_found(jobs: JobsService) -> None:
    nowhere = RunId(uuid4())
    for attempt in (
        jobs.claim_run(nowhere, "me"),
        jobs.complete(nowhere, "me", {}),
        jobs.fail(nowhere, "me", "x"),
        jobs.update_run(nowhere, RunUpdate(error="x")),
        jobs.get_run(OWNER, nowhere),
        jobs.cancel_run(OWNER, nowhere),
        jobs.retry_run(OWNER, nowhere),
    ):
        with pytest.raises(NotFound, match=f"there is no run {nowhere}"):
            await attempt


# ---------------------------------------------------------------- looking


async def test_runs_are_listed_newest_first_over_classes_and_leaves(jobs: JobsService, rows: Rows) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for days in (0, 40, 80):
        for retention_class in ("alert", "other"):
            await store_run(rows, now - timedelta(days=days), retention_class)
    found = await jobs.list_runs(RunFilter(OWNER, limit=4))
    assert [(now - run.scheduled_for).days for run in found] == [0, 0, 40, 40]
    until, since = now - timedelta(days=10), now - timedelta(days=50)
    middle = await jobs.list_runs(RunFilter(OWNER, since=since, until=until))
    assert [(now - run.scheduled_for).days for run in middle] == [40, 40]
    assert [run.job_type for run in await jobs.list_runs(RunFilter(OWNER, job_type="alert"))] == ["alert"] * 3
    assert await jobs.list_runs(RunFilter(STRANGER)) == []


async def store_run(rows: Rows, at: datetime, retention_class: str = "other", **columns: Any) -> None:
    job_type = "alert" if retention_class == "alert" else "report"
    await rows.partitions(at)
    values = {"job_type": job_type, "user_id": OWNER, "scheduled_for": at, "retention_class": retention_class}
    values |= columns
    names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
    await rows.change(f"INSERT INTO job_schedule_runs ({names}) VALUES ({places})", **values)


async def test_runs_are_sorted_by_what_is_asked(jobs: JobsService, rows: Rows) -> None:
    now = datetime.now(UTC)
    for minutes, attempt, priority in ((5, 1, 3), (1, 3, 2), (9, 2, 1)):
        await store_run(
            rows,
            now - timedelta(minutes=minutes),
            started_at=now - timedelta(minutes=minutes),
            finished_at=now,
            status="COMPLETED",
            attempt=attempt,
            priority=priority,
        )
    wanted = {RunSort.SCHEDULED_FOR: [3, 1, 2], RunSort.DURATION: [2, 1, 3], RunSort.ATTEMPT: [3, 2, 1]}
    for sort, attempts in wanted.items():
        assert [run.attempt for run in await jobs.list_runs(RunFilter(OWNER, sort=sort))] == attempts
    by_priority = await jobs.list_runs(RunFilter(OWNER, sort=RunSort.PRIORITY, limit=2))
    assert [run.priority for run in by_priority] == [1, 2]


async def test_a_list_reads_the_newest_leaves_in_order_and_stops(rows: Rows, database: Database) -> None:
    now = datetime.now(UTC)
    for days in range(0, 150, 30):
        await rows.partitions(now - timedelta(days=days))
    await rows.change(
        """
        INSERT INTO job_schedule_runs (job_type, user_id, scheduled_for, retention_class, status)
        SELECT 'report', 1, now() - n * interval '10 minutes', 'other', 'COMPLETED'
        FROM generate_series(1, 15000) n
        """
    )
    await rows.change("ANALYZE job_schedule_runs")
    statement = list_statement(RunFilter(OWNER, limit=20))
    plan = await rows.column(f"EXPLAIN (ANALYZE, TIMING OFF) {statement}", user_id=OWNER, limit=20)
    scans = [line for line in plan if "Scan" in line and "_other_" in line]
    assert all("_pkey" in line for line in scans), "\n".join(plan)
    # Near the turn of a month that of the next one is there, empty, or the newest runs lie in two of the five.
    assert 1 <= sum("never executed" not in line for line in scans) <= 2 < len(scans), "\n".join(plan)


async def test_runs_of_a_schedule_are_found_by_its_key(jobs: JobsService, rows: Rows) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    other = await jobs.create_schedule(OWNER, DAILY)
    runs = [await jobs.trigger_schedule(OWNER, one.id) for one in (made, other, made)]
    found = await jobs.list_runs(RunFilter(OWNER, job_id=made.id))
    assert [run.run_id for run in found] == [runs[2].run_id, runs[0].run_id]
    assert await jobs.list_runs(RunFilter(OWNER, job_id=made.id, statuses=[RunStatus.FAILED])) == []


async def test_statistics_add_closed_hours_and_what_came_after(jobs: JobsService, rows: Rows) -> None:
    assert (await jobs.get_run_statistics(OWNER, None, 7))["success_rate"] is None
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    closed = hour - timedelta(hours=1)
    for age, status, runs in ((1, "COMPLETED", 8), (1, "FAILED", 2), (24 * 9, "COMPLETED", 1000)):
        await rows.change(
            """
            INSERT INTO job_run_statistics
                (hour, user_id, job_type, status, runs, retried, total_seconds, max_seconds)
            VALUES (:hour, 1, 'report', :status, :runs, 1, 20, 9)
            """,
            hour=hour - timedelta(hours=age),
            status=status,
            runs=runs,
        )
    await ended_run(rows, closed + timedelta(minutes=10), seconds=500)  # counted already in the closed hour
    await ended_run(rows, hour + timedelta(seconds=1), seconds=30, attempt=2)
    await ended_run(rows, hour + timedelta(seconds=1), seconds=0, status="CANCELLED")
    await ended_run(rows, hour + timedelta(seconds=1), seconds=5, user_id=STRANGER)
    await jobs.create_run(OWNER, HELLO)
    claimed = await jobs.create_run(OWNER, HELLO)
    await jobs.claim_run(claimed.run_id, "me")
    assert await jobs.get_run_statistics(OWNER, None, 7) == {
        "job_type": None,
        "days": 7,
        "total": 12,
        "by_status": {"COMPLETED": 9, "FAILED": 2, "CANCELLED": 1},
        "success_rate": 9 / 11,
        "avg_duration_seconds": 70 / 11,
        "max_duration_seconds": 30.0,
        "retried": 3,
        "pending": 1,
        "running": 1,
    }
    assert (await jobs.get_run_statistics(OWNER, "backup", 7))["total"] == 0
    assert (await jobs.get_run_statistics(OWNER, "report", 30))["total"] == 1012
    for job_type, days, field in (("dance", 7, "job_type"), (None, 0, "days")):
        with pytest.raises(InvalidInput, match=f"^{field}: "):
            await jobs.get_run_statistics(OWNER, job_type, days)


async def ended_run(
    rows: Rows, at: datetime, *, seconds: float, status: str = "COMPLETED", attempt: int = 1, user_id: int = OWNER
) -> None:
    began = at - timedelta(seconds=seconds)
    await store_run(
        rows, began, status=status, attempt=attempt, user_id=user_id, started_at=began, finished_at=at
    )


async def test_old_runs_that_have_ended_are_deleted(jobs: JobsService, rows: Rows) -> None:
    now = datetime.now(UTC)
    for days in (1, 20, 40):
        at = now - timedelta(days=days)
        await store_run(rows, at, status="COMPLETED", finished_at=at)
    await store_run(rows, now - timedelta(days=40), status="PENDING")
    assert await jobs.cleanup_old_runs(30) == 1
    assert await statuses(rows) == ["COMPLETED", "COMPLETED", "PENDING"]
    assert await jobs.cleanup_old_runs(0) == 2
    with pytest.raises(InvalidInput, match=r"^days_to_keep: "):
        await jobs.cleanup_old_runs(-1)


async def test_a_set_is_expanded_to_what_belongs_to_it_today(
    jobs: JobsService, rows: Rows, market_clock: FakeMarketClock
) -> None:
    market_clock.at = datetime(2024, 6, 1, 12, tzinfo=UTC)
    with pytest.raises(InvalidInput, match=r'^target: there is no set "tech"; sets here: none yet'):
        await jobs.expand_screener_target("tech")
    await rows.change(
        """
        INSERT INTO market_universes (name, symbol, valid_from, valid_to) VALUES
        ('tech', 'NVDA', '2020-01-01', NULL), ('tech', 'AAPL', '2020-01-01', '2025-01-01'),
        ('tech', 'INTC', '2020-01-01', '2024-06-01'), ('tech', 'NEW', '2024-06-02', NULL),
        ('banks', 'JPM', '2020-01-01', NULL), ('gone', 'X', '2020-01-01', '2021-01-01')
        """
    )
    assert await jobs.expand_screener_target("tech") == ("AAPL", "NVDA")
    assert await jobs.expand_screener_target("MSFT, AAPL,MSFT") == ("MSFT", "AAPL")
    with pytest.raises(InvalidInput, match=r'^target: there is no set "gone"; sets here: banks, tech$'):
        await jobs.expand_screener_target("gone")


# ---------------------------------------------------------------- dead letters, workers, misfires


async def dead_letter(jobs: JobsService) -> int:
    run = await jobs.create_run(OWNER, HELLO)
    await jobs.claim_run(run.run_id, "me")
    await jobs.fail(run.run_id, "me", "gone", permanent=True)
    return (await jobs.list_dead_letters(DeadLetterFilter(OWNER)))[0].id


async def test_a_dead_letter_is_requeued_once_even_when_its_run_is_gone(jobs: JobsService, rows: Rows) -> None:
    number = await dead_letter(jobs)
    letter = await jobs.get_dead_letter(OWNER, number)
    await rows.change("DELETE FROM job_schedule_runs")
    ended = await asyncio.gather(
        *(jobs.requeue_dead_letter(OWNER, number) for _ in range(3)), return_exceptions=True
    )
    (run,) = [one for one in ended if not isinstance(one, BaseException)]
    assert (run.retry_of, run.snapshot, run.status, run.max_attempts) == (
        letter.run_id, letter.job_snapshot, RunStatus.PENDING, 5,
    )  # fmt: skip
    assert await statuses(rows) == ["PENDING"]
    assert (await jobs.get_dead_letter(OWNER, number)).requeued_run_id == run.run_id
    with pytest.raises(Conflict, match=f"was requeued already, as run {run.run_id}"):
        await jobs.requeue_dead_letter(OWNER, number)
    assert await jobs.list_dead_letters(DeadLetterFilter(OWNER, is_open=True)) == []
    assert len(await jobs.list_dead_letters(DeadLetterFilter(OWNER, is_open=False))) == 1


async def test_dead_letters_are_listed_by_type_and_dropped(jobs: JobsService) -> None:
    number = await dead_letter(jobs)
    assert await jobs.list_dead_letters(DeadLetterFilter(OWNER, job_type="backup")) == []
    assert await jobs.list_dead_letters(DeadLetterFilter(OWNER, job_id=5)) == []
    await jobs.drop_dead_letter(OWNER, number)
    for attempt in (jobs.drop_dead_letter(OWNER, number), jobs.requeue_dead_letter(OWNER, number)):
        with pytest.raises(NotFound, match=f"there is no dead letter {number}"):
            await attempt


async def test_workers_are_shown_with_what_they_run(jobs: JobsService, rows: Rows) -> None:
    await rows.worker("dead", lease=timedelta(minutes=-1))
    run = await jobs.create_run(OWNER, HELLO)
    await jobs.claim_run(run.run_id, "me")
    shown = {one.worker_id: (one.is_alive, one.running) for one in await jobs.list_workers()}
    assert shown == {"dead": (False, 0), "me": (True, 1)}


@pytest.mark.usefixtures("stranger")
async def test_misfires_are_shown_to_whom_they_belong(jobs: JobsService, rows: Rows) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    await rows.change(
        """
        INSERT INTO job_misfires (schedule_id, count, first_at, last_at, reason)
        VALUES (:id, 5, now() - interval '5 days', now(), 'late')
        """,
        id=made.id,
    )
    (misfire,) = await jobs.list_misfires(OWNER)
    assert (misfire.schedule_name, misfire.count, misfire.reason) == ("daily", 5, "late")
    assert await jobs.list_misfires(OWNER, made.id + 1) == []
    assert await jobs.list_misfires(STRANGER) == []


# ---------------------------------------------------------------- the mission's SQL, word by word


VIEW_SCHEDULES = """
SELECT id, name, job_type, cron, enabled, next_run_at
FROM job_schedules
WHERE enabled = true;
"""
VIEW_RUNS = """
SELECT run_id, job_type, status, started_at, finished_at, error
FROM job_schedule_runs
ORDER BY started_at DESC
LIMIT 20;
"""
FAILED_RUNS = """
SELECT * FROM job_schedule_runs
WHERE status = 'FAILED'
AND started_at > NOW() - INTERVAL '24 hours';
"""
CLEAN_UP = """
DELETE FROM job_schedule_runs
WHERE started_at < NOW() - INTERVAL '30 days';
"""
RESET_STUCK = """
UPDATE job_schedule_runs
SET status = 'FAILED', error = 'Service restart cleanup'
WHERE status = 'RUNNING'
AND started_at < NOW() - INTERVAL '1 hour';
"""


async def test_the_mission_s_queries_work_as_they_stand(jobs: JobsService, rows: Rows) -> None:
    made = await jobs.create_schedule(OWNER, DAILY)
    run = await jobs.trigger_schedule(OWNER, made.id)
    (schedule,) = await rows.all(VIEW_SCHEDULES)
    assert tuple(schedule) == (made.id, "daily", "report", "0 9 * * *", True, made.next_run_at)
    await jobs.claim_run(run.run_id, "me")
    (shown,) = await rows.all(VIEW_RUNS)
    assert (shown.run_id, shown.status, shown.error) == (run.run_id, "RUNNING", None)
    await jobs.fail(run.run_id, "me", "no data", permanent=True)
    (failed,) = await rows.all(FAILED_RUNS)
    assert isinstance(failed.run_id, UUID)
    assert "no data" in failed.error


async def test_the_mission_s_reset_takes_a_stuck_run_away_from_its_worker(jobs: JobsService, rows: Rows) -> None:
    run = await jobs.create_run(OWNER, HELLO)
    await jobs.claim_run(run.run_id, "stuck")
    await rows.change("UPDATE job_schedule_runs SET started_at = now() - interval '2 hours'")
    assert await rows.change(RESET_STUCK) == 1
    reset = await jobs.get_run(OWNER, run.run_id)
    assert (reset.status, reset.worker_id, reset.error) == (RunStatus.FAILED, None, "Service restart cleanup")
    assert reset.finished_at is not None
    with pytest.raises(Conflict, match="no longer, held by stuck"):
        await jobs.complete(run.run_id, "stuck", {"late": True})
    assert (await jobs.get_run(OWNER, run.run_id)).result is None


async def test_the_mission_s_clean_up_deletes_old_runs(jobs: JobsService, rows: Rows) -> None:
    now = datetime.now(UTC)
    for days in (1, 40):
        at = now - timedelta(days=days)
        await store_run(rows, at, started_at=at, status="COMPLETED")
    assert await rows.change(CLEAN_UP) == 1
    assert len(await jobs.list_runs(RunFilter(OWNER))) == 1


async def test_of_many_who_take_the_last_place_of_a_user_at_once_one_gets_it(
    database: Database, rows: Rows, market_clock: FakeMarketClock
) -> None:
    quotas = Quotas(schedules=2, runs_per_day=2)
    jobs = JobsService(PostgresJobsRepository(database, quotas), market_clock, types=TYPES)
    for take, table in (
        (lambda: jobs.create_schedule(OWNER, DAILY), "job_schedules"),
        (lambda: jobs.create_run(OWNER, HELLO), "job_schedule_runs"),
    ):
        await take()
        found = await asyncio.gather(*(take() for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in found if isinstance(one, Exception)] == [Conflict] * 4
        assert await rows.value(f"SELECT count(*) FROM {table}") == 2
