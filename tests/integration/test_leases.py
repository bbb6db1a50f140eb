"""Leases and the rescue of what is held without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.integration.claiming import take

from atf.jobs.chores.rescuer import Rescued
from atf.jobs.lease import Holder, Lease
from atf.jobs.run import WorkerId
from atf.notifications.message import OutgoingMessage
from atf.storage import run_queue
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.workers_repository import PostgresLeases

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

MINUTE = timedelta(minutes=1)


@pytest.fixture
def leases(database: Database) -> PostgresLeases:
    return PostgresLeases(database)


@pytest.fixture
async def queue(database: Database) -> AsyncIterator[PostgresRunQueue]:
    queue = PostgresRunQueue(database)
    yield queue
    await queue.close()


async def test_a_lease_is_written_renewed_and_removed(leases: PostgresLeases, rows: Rows) -> None:
    worker = WorkerId("w")
    await leases.register(Holder(worker, "host", 42, ("alert", "report"), "w", {"report": 3}), MINUTE)
    (row,) = await rows.all("SELECT *, lease_expires_at - now() AS rest FROM workers")
    assert (row.host, row.pid, row.types) == ("host", 42, ["alert", "report"])
    assert (row.name, row.slots) == ("w", {"report": 3})
    assert timedelta(0) < row.rest <= MINUTE
    assert await leases.renew(worker, 60 * MINUTE)
    assert await rows.value("SELECT lease_expires_at - now() FROM workers") > 50 * MINUTE
    await leases.remove(worker)
    await leases.remove(worker)
    assert await rows.column("SELECT worker_id FROM workers") == []


async def test_a_lease_that_is_over_cannot_be_renewed(leases: PostgresLeases, rows: Rows) -> None:
    worker = await rows.worker()
    await rows.expire(worker)
    assert not await leases.renew(worker, MINUTE)
    assert not await leases.renew(WorkerId("never registered"), MINUTE)


async def test_a_lease_that_is_given_up_while_its_row_is_committed_leaves_none(
    leases: PostgresLeases, rows: Rows
) -> None:
    await rows.change(
        """
        CREATE FUNCTION commit_slowly() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_sleep(60);  -- ends as soon as the client gives up, and the commit goes on
            RETURN NULL;
        EXCEPTION WHEN query_canceled THEN RETURN NULL;
        END $$
        """
    )
    await rows.change(
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON workers DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION commit_slowly()"
    )
    lease = Lease(leases, name="worker", types=("alert",), length=MINUTE)
    asking = asyncio.create_task(lease.acquire())
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    )
    for _ in range(1_000):
        if await rows.value(sleeping):
            break
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait({asking})
    assert len(await rows.all("SELECT * FROM workers")) == 1
    await lease.release()
    assert await rows.all("SELECT * FROM workers") == []


async def test_only_what_has_no_live_lease_is_rescued(
    leases: PostgresLeases, queue: PostgresRunQueue, rows: Rows
) -> None:
    await rows.pending_runs(6)
    living, dead, removed = [await rows.worker(name) for name in ("living", "dead", "removed")]
    for worker in (living, dead, removed):
        assert len(await take(queue, worker, 2)) == 2
    await rows.expire(dead)
    await leases.remove(removed)
    assert await leases.rescue() == Rescued(runs_requeued=4)
    assert await rows.column("SELECT worker_id FROM workers") == ["living"]
    assert set(await rows.column("SELECT worker_id FROM job_schedule_runs WHERE status = 'RUNNING'")) == {
        "living"
    }
    rescued = await rows.all("SELECT attempt, error FROM job_schedule_runs WHERE status = 'PENDING' ORDER BY id")
    assert [row.attempt for row in rescued] == [2] * 4
    assert rescued[0].error == "WorkerLost: dead died in attempt 1"
    assert await leases.rescue() == Rescued()


async def test_a_running_run_of_nobody_is_rescued(
    leases: PostgresLeases, queue: PostgresRunQueue, rows: Rows
) -> None:
    await rows.pending_runs(1)
    await take(queue, await rows.worker(), 1)
    await rows.change("UPDATE job_schedule_runs SET worker_id = NULL")
    assert await leases.rescue() == Rescued(runs_requeued=1)


async def test_a_run_whose_attempts_are_used_up_fails_instead(
    leases: PostgresLeases, queue: PostgresRunQueue, rows: Rows
) -> None:
    await rows.pending_runs(1, max_attempts=2)
    seen = []
    for n in range(2):
        worker = await rows.worker(f"w{n}")
        assert len(await take(queue, worker, 1)) == 1
        await leases.remove(worker)
        seen.append(await leases.rescue())
    assert seen == [Rescued(runs_requeued=1), Rescued(runs_failed=1)]
    (run,) = await rows.all("SELECT status, attempt, error, finished_at FROM job_schedule_runs")
    assert (run.status, run.attempt, run.error) == ("FAILED", 2, "WorkerLost: w1 died in attempt 2")
    assert run.finished_at is not None


async def test_ended_runs_are_not_rescued(leases: PostgresLeases, queue: PostgresRunQueue, rows: Rows) -> None:
    await rows.pending_runs(3)
    worker = await rows.worker()
    await take(queue, worker, 3)
    for n, status in enumerate(("COMPLETED", "FAILED", "CANCELLED"), start=1):
        await rows.change("UPDATE job_schedule_runs SET status = :status WHERE job_id = :n", status=status, n=n)
    await leases.remove(worker)
    assert await leases.rescue() == Rescued()


async def test_deliveries_of_a_lost_sender_are_sent_by_others(
    database: Database, leases: PostgresLeases, rows: Rows
) -> None:
    outbox = PostgresOutbox(database)
    await outbox.add([OutgoingMessage(1, "test", "t", "b", "key", ("inbox", "console"))])
    lost, living = await rows.worker("lost"), await rows.worker("living")
    for sender, channel in ((lost, "inbox"), (living, "console")):
        assert await outbox.take_channel(sender, channel) is True
        assert len(await outbox.claim(sender, channel, 10)) == 1
    await rows.expire(lost)
    assert await leases.rescue() == Rescued(deliveries_requeued=1)
    assert await outbox.take_channel(living, "inbox") is True
    (again,) = await outbox.claim(living, "inbox", 10)
    assert again.attempts == 0, "a kill costs no try"


async def test_rescuers_on_all_nodes_at_once_rescue_each_run_once(
    leases: PostgresLeases, queue: PostgresRunQueue, rows: Rows
) -> None:
    await rows.pending_runs(200)
    worker = await rows.worker()
    await take(queue, worker, 200)
    await rows.expire(worker)
    rescued = await asyncio.gather(*(leases.rescue() for _ in range(4)))
    last = await leases.rescue()
    assert sum(one.runs_requeued for one in [*rescued, last]) == 200
    assert set(await rows.column("SELECT attempt FROM job_schedule_runs")) == {2}


async def test_a_worker_that_is_claiming_is_forgotten_only_afterwards(
    database: Database, leases: PostgresLeases, rows: Rows
) -> None:
    await rows.pending_runs(1)
    worker = await rows.worker()
    async with await database.connect() as claiming, claiming.transaction():
        values = {"worker_id": worker, "job_type": "alert", "limit": 1, "runtimes": "{}"}
        await claiming.execute(run_queue._CLAIM_BATCH.encode(), values)
        await rows.expire(worker)
        assert await leases.rescue() == Rescued()
        assert await rows.column("SELECT worker_id FROM workers") == [worker]
    assert await leases.rescue() == Rescued(runs_requeued=1)
    assert await rows.column("SELECT worker_id FROM workers") == []


async def test_a_claim_that_races_with_the_rescuer_leaves_nothing_behind(
    leases: PostgresLeases, queue: PostgresRunQueue, rows: Rows
) -> None:
    rounds = 100
    await rows.pending_runs(rounds, max_attempts=1_000)

    async def claim_on_a_dying_lease(name: str) -> None:
        worker = WorkerId(name)
        await leases.register(Holder(worker, "host", 1, ("alert",)), timedelta(milliseconds=3))
        while await take(queue, worker, 5):
            pass

    for n in range(rounds):
        await asyncio.gather(claim_on_a_dying_lease(f"w{n}"), leases.rescue(), leases.rescue())
    await rows.change("UPDATE workers SET lease_expires_at = now() - interval '1 second'")
    await leases.rescue()
    assert await rows.statuses() == {"PENDING": rounds}
    assert await rows.column("SELECT worker_id FROM workers") == []


async def test_a_program_whose_lease_ends_in_peace_is_not_lost_and_one_that_holds_a_run_is(
    leases: PostgresLeases, queue: PostgresRunQueue, rows: Rows
) -> None:
    await rows.pending_runs(1)
    for name in ("peaceful", "gone"):
        await leases.register(Holder(WorkerId(name), "host", 1, ("alert",)), MINUTE)
    await take(queue, WorkerId("gone"), 1)
    for name in ("peaceful", "gone"):
        await rows.expire(WorkerId(name))
    await leases.rescue()
    assert await rows.column("SELECT worker_id FROM workers_lost") == ["gone"]
