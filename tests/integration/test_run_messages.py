"""A run that was to tell of its end tells it once, whoever ends it; one that goes on tells nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event
from tests.integration.claiming import take

from atf.errors import InvalidInput, PermanentFailure, TemporaryFailure
from atf.jobs.chores.rescuer import Rescued
from atf.jobs.dead_letters import DeadLetterFilter
from atf.jobs.handler import Job
from atf.jobs.jobs_service import JobsService
from atf.jobs.missing_handler import MissingHandler
from atf.jobs.queue import Cancelled, Outcomes, PutBack
from atf.jobs.run import ClaimedRun, Completion, Failure, RunRecord, RunStatus, WorkerId
from atf.jobs.run_request import NOTIFY_CHANNELS, RunCreate, RunUpdate
from atf.notifications.preferences_service import CHANNELS
from atf.storage.database import Database
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.schedules_repository import PostgresJobsRepository
from atf.storage.users_repository import PostgresUsers
from atf.storage.workers_repository import PostgresLeases

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

    from atf.testing.clocks import FakeMarketClock

OWNER = 1
ASKING = RunCreate("report", "daily_summary", notify=("telegram", "inbox", "telegram"))
End = Callable[["Stand", ClaimedRun], Awaitable[Any]]


class Stand:
    """A queue, a worker, and what users do with runs."""

    def __init__(self, database: Database, clock: FakeMarketClock, rows: Rows, worker: WorkerId) -> None:
        self.jobs = JobsService(PostgresJobsRepository(database), clock)
        self.queue = PostgresRunQueue(database)
        self.leases = PostgresLeases(database)
        self.users = PostgresUsers(database)
        self.rows = rows
        self.worker = worker

    async def claimed(self, request: RunCreate = ASKING) -> ClaimedRun:
        """A new run in the worker's hands."""
        await self.jobs.create_run(OWNER, request)
        (run,) = await take(self.queue, self.worker, 1, request.job_type, is_batch=False)
        return run

    async def finish(self, **outcomes: Any) -> None:
        """Write outcomes down as the worker does."""
        await self.queue.finish(self.worker, Outcomes(**outcomes))

    async def told(self) -> list[tuple[str, str]]:
        """Title and first line of all messages."""
        found = await self.rows.all("SELECT title, body FROM msg_messages ORDER BY id")
        return [(row.title, row.body.split("\n")[0]) for row in found]


@pytest.fixture
async def stand(database: Database, market_clock: FakeMarketClock, rows: Rows) -> AsyncIterator[Stand]:
    stand = Stand(database, market_clock, rows, await rows.worker())
    yield stand
    await stand.queue.close()


def failure(run: ClaimedRun, *, is_permanent: bool = True) -> Failure:
    return Failure(run, PermanentFailure("no such report"), is_permanent)


async def complete(stand: Stand, run: ClaimedRun) -> None:
    await stand.finish(completions=[Completion(run, {"summary": "all is well"})])


async def fail(stand: Stand, run: ClaimedRun) -> None:
    await stand.finish(failures=[failure(run)])


async def stop(stand: Stand, run: ClaimedRun) -> None:
    await stand.jobs.cancel_run(OWNER, run.run_id)
    await stand.finish(cancelled=[Cancelled(run)])


async def put_back_cancelled(stand: Stand, run: ClaimedRun) -> None:
    await stand.jobs.cancel_run(OWNER, run.run_id)
    await stand.finish(put_back=[PutBack(run)])


async def hand_back_cancelled(stand: Stand, run: ClaimedRun) -> None:
    await stand.jobs.cancel_run(OWNER, run.run_id)
    assert await stand.queue.hand_back(stand.worker) == 1


async def lose_last_attempt(stand: Stand, run: ClaimedRun) -> None:
    await stand.rows.change("UPDATE job_schedule_runs SET max_attempts = 1")
    await stand.rows.expire(stand.worker)
    assert await stand.leases.rescue() == Rescued(runs_failed=1)


async def lose_cancelled(stand: Stand, run: ClaimedRun) -> None:
    await stand.jobs.cancel_run(OWNER, run.run_id)
    await stand.rows.expire(stand.worker)
    assert await stand.leases.rescue() == Rescued(runs_cancelled=1)


async def report_completed(stand: Stand, run: ClaimedRun) -> None:
    await stand.jobs.complete(run.run_id, stand.worker, {"rows": 3})


async def report_failed(stand: Stand, run: ClaimedRun) -> None:
    await stand.jobs.fail(run.run_id, stand.worker, "out of paper", permanent=True)


async def update(stand: Stand, run: ClaimedRun) -> None:
    await stand.jobs.update_run(run.run_id, RunUpdate(RunStatus.FAILED, error="by hand"))


NAME = "report daily_summary"
DONE, FAILED, CANCELLED = f"{NAME} is done", f"{NAME} has failed", f"{NAME} was cancelled"


@pytest.mark.parametrize(
    ("end", "title", "line"),
    [
        (complete, DONE, "all is well"),
        (fail, FAILED, "no such report"),
        (stop, CANCELLED, "Cancelled: while it was running"),
        (put_back_cancelled, CANCELLED, "Run "),
        (hand_back_cancelled, CANCELLED, "Run "),
        (lose_last_attempt, FAILED, "worker-1 died in attempt 1"),
        (lose_cancelled, CANCELLED, "worker-1 died in attempt 1"),
        (report_completed, DONE, "rows: 3"),
        (report_failed, FAILED, "out of paper"),
        (update, FAILED, "by hand"),
    ],
)
async def test_every_way_in_which_a_running_run_ends_is_told_once(
    stand: Stand, end: End, title: str, line: str
) -> None:
    run = await stand.claimed()
    assert await stand.told() == []
    await end(stand, run)
    ((told, body),) = await stand.told()
    assert (told, body[: len(line)]) == (title, line)
    (message,) = await stand.rows.all("SELECT * FROM msg_messages")
    assert (message.dedup_key, message.notification_type) == (f"run-ended:{run.run_id}", "report")
    assert message.payload["run_id"] == str(run.run_id)
    assert message.body.endswith(f"Run {str(run.run_id)[:8]}, attempt 1")
    channels = await stand.rows.column("SELECT channel FROM msg_deliveries ORDER BY channel")
    assert channels == ["inbox", "telegram"]
    await complete(stand, run)  # a late result of a worker that has lost the run
    assert len(await stand.told()) == 1


@pytest.mark.parametrize("by_program", [False, True])
async def test_a_waiting_run_that_is_cancelled_is_told(stand: Stand, by_program: bool) -> None:
    run = await stand.jobs.create_run(OWNER, ASKING)
    if by_program:
        await stand.jobs.update_run(run.run_id, RunUpdate(RunStatus.CANCELLED))
    else:
        assert await stand.jobs.cancel_run(OWNER, run.run_id)
    assert [title for title, _ in await stand.told()] == [CANCELLED]


async def test_an_attempt_that_is_tried_again_is_no_end(stand: Stand) -> None:
    run = await stand.claimed()
    await stand.finish(failures=[failure(run, is_permanent=False)])
    (run,) = await take(stand.queue, stand.worker, 1, "report", is_batch=False)
    await stand.finish(put_back=[PutBack(run)])
    (run,) = await take(stand.queue, stand.worker, 1, "report", is_batch=False)
    assert await stand.queue.hand_back(stand.worker) == 1
    (run,) = await take(stand.queue, stand.worker, 1, "report", is_batch=False)
    await stand.rows.expire(stand.worker)
    assert await stand.leases.rescue() == Rescued(runs_requeued=1)
    assert await stand.told() == []
    stand.worker = await stand.rows.worker("worker-2")
    (run,) = await take(stand.queue, stand.worker, 1, "report", is_batch=False)
    await stand.finish(failures=[failure(run, is_permanent=False)])
    assert [title for title, _ in await stand.told()] == [FAILED]
    (letter,) = await stand.jobs.list_dead_letters(DeadLetterFilter(OWNER))
    assert letter.run_id == run.run_id


async def test_a_run_that_does_not_ask_costs_no_statement(stand: Stand, database: Database) -> None:
    said: list[str] = []
    silent = await stand.claimed(RunCreate("report", "daily_summary"))
    asking = await stand.claimed()

    def hear(*arguments: Any) -> None:
        said.append(arguments[2])

    event.listen(database.engine.sync_engine, "before_cursor_execute", hear)
    await complete(stand, silent)
    assert [one for one in said if "UPDATE job_schedule_runs" not in one] == []
    await complete(stand, asking)
    assert len([one for one in said if "msg_" in one]) >= 2
    assert len(await stand.told()) == 1


async def test_end_and_message_stand_or_fall_together(stand: Stand) -> None:
    run = await stand.claimed()
    await stand.rows.change("ALTER TABLE msg_messages ADD CONSTRAINT never CHECK (false) NOT VALID")
    with pytest.raises(Exception, match="never"):
        await complete(stand, run)
    assert await stand.rows.statuses() == {"RUNNING": 1}
    await stand.rows.change("ALTER TABLE msg_messages DROP CONSTRAINT never")
    await complete(stand, run)
    assert await stand.told() == [(DONE, "all is well")]


async def test_several_runs_that_end_together_are_told_each(stand: Stand) -> None:
    for request in (ASKING, ASKING, RunCreate("report", "daily_summary"), ASKING):
        await stand.jobs.create_run(OWNER, request)
    one, two, three, four = await take(stand.queue, stand.worker, 4, "report", is_batch=False)
    await stand.finish(
        completions=[Completion(one, {}), Completion(three, {})],
        failures=[failure(two)],
        put_back=[PutBack(four)],
    )
    assert sorted(title for title, _ in await stand.told()) == [FAILED, DONE]


async def test_a_repeated_run_tells_of_its_own_end(stand: Stand) -> None:
    run = await stand.claimed()
    await fail(stand, run)
    again: RunRecord = await stand.jobs.retry_run(OWNER, run.run_id)
    (letter,) = await stand.jobs.list_dead_letters(DeadLetterFilter(OWNER))
    requeued = await stand.jobs.requeue_dead_letter(OWNER, letter.id)
    for _ in (again, requeued):
        (taken,) = await take(stand.queue, stand.worker, 1, "report", is_batch=False)
        await complete(stand, taken)
    assert [title for title, _ in await stand.told()] == [FAILED, DONE, DONE]


async def test_who_is_disabled_is_told_nothing(stand: Stand) -> None:
    await stand.rows.change("INSERT INTO users (name, role) VALUES ('chief', 'admin')")
    run = await stand.claimed()
    await stand.jobs.create_run(OWNER, ASKING)
    await stand.users.set_active(OWNER, is_active=False)
    await complete(stand, run)
    assert await stand.rows.statuses() == {"COMPLETED": 1, "CANCELLED": 1}
    assert await stand.told() == []


async def test_the_end_is_told_in_the_language_that_its_user_has_chosen(stand: Stand) -> None:
    await stand.rows.change("INSERT INTO msg_preferences (user_id, language) VALUES (1, 'de')")
    await complete(stand, await stand.claimed())
    assert [title for title, _ in await stand.told()] == [f"{NAME} ist fertig"]


async def test_a_run_without_handler_says_so(stand: Stand) -> None:
    run = await stand.claimed()
    with pytest.raises(PermanentFailure) as raised:
        await MissingHandler("report").handle(Job.of(run, timedelta(minutes=5)))
    await stand.finish(failures=[Failure(run, raised.value, is_permanent=True)])
    assert await stand.told() == [(FAILED, "this installation has nothing that does 'report' jobs")]


async def test_hostile_results_and_errors_make_a_readable_message(stand: Stand) -> None:
    await complete_with(stand, {"a\u202eb": "x" * 5000, "nested": {"k": [1, {"$sealed": "s3cret"}]}})
    await complete_with(stand, {"summary": "y" * 100_000})
    await complete_with(stand, {f"field{n}": n for n in range(1000)})
    run = await stand.claimed()
    await stand.finish(
        failures=[Failure(run, TemporaryFailure("\0 half \ud800 *bold*" * 999), is_permanent=True)]
    )
    bodies = await stand.rows.column("SELECT body FROM msg_messages ORDER BY id")
    assert len(bodies) == 4
    assert max(map(len, bodies)) < 3100
    assert "s3cret" not in bodies[0]
    assert bodies[2].count("\n") < 25


async def complete_with(stand: Stand, result: dict[str, Any]) -> None:
    await stand.finish(completions=[Completion(await stand.claimed(), result)])


async def test_a_snapshot_that_was_edited_into_nonsense_tells_the_inbox(stand: Stand) -> None:
    run = await stand.claimed()
    await stand.rows.change(
        'UPDATE job_schedule_runs SET job_snapshot = job_snapshot || \'{"notify": [7, "x"]}\''
    )
    await complete(stand, run)
    assert await stand.rows.column("SELECT channel FROM msg_deliveries") == ["inbox"]


async def test_only_channels_that_there_are_can_be_asked_for(stand: Stand) -> None:
    with pytest.raises(InvalidInput, match=r"notify: must be channels of inbox, .*got \"pigeon\""):
        await stand.jobs.create_run(OWNER, RunCreate("report", "daily_summary", notify=("pigeon",)))
    assert set(NOTIFY_CHANNELS) == set(CHANNELS)
