"""Harm that a worker survives: what a handler, a person or the database does costs one run and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.jobs.worker_fakes import (
    FakeBatchHandler,
    FakeHandler,
    FakeLeases,
    FakeQueue,
    definition,
    hanging,
    raising,
    run_of,
    until,
    working,
)

from atf.errors import ConfigurationError, InvariantViolation, TemporaryFailure
from atf.jobs.handler import Job
from atf.jobs.queue import Cancelled, Outcomes
from atf.jobs.run import ClaimedBatch, Completion, Failure, WorkerId
from atf.jobs.worker import Duty

SOON = timedelta(milliseconds=50)


def reports(handler: FakeHandler, **limits: Any) -> Duty:
    return Duty(definition(**limits), handler)


async def ignoring_cancellation(free: asyncio.Event) -> None:
    while not free.is_set():
        with suppress(asyncio.CancelledError):
            await free.wait()


class Unreadable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


# --- what a handler raises


@pytest.mark.parametrize(
    "error",
    [
        TemporaryFailure("later", retry_after_seconds="30"),  # type: ignore[arg-type]
        BaseExceptionGroup("several", [SystemExit(1), ValueError("x")]),
        Unreadable(),
    ],
    ids=["pause that is no number", "group with an exit", "error without a text"],
)
async def test_whatever_a_handler_raises_ends_its_run_and_the_slot_goes_on(error: BaseException) -> None:
    async def does(job: Job) -> dict[str, Any]:
        if job.job_id == 1:
            raise error
        return {}

    queue = FakeQueue([run_of(1), run_of(2)])
    async with working(queue, reports(FakeHandler(does), concurrency=1)):
        await queue.until_finished(2)
    assert isinstance(queue.outcome(1), Failure)
    assert isinstance(queue.outcome(2), Completion)


async def test_batch_whose_handler_raises_what_is_no_error_fails() -> None:
    async def does(batch: ClaimedBatch) -> None:
        raise BaseExceptionGroup("several", [SystemExit(1)])

    queue = FakeQueue([run_of(1, "alert")])
    async with working(queue, Duty(definition("alert"), FakeBatchHandler(does), is_batch=True)):
        await queue.until_finished(1)
    assert isinstance(queue.outcome(1), Failure)


# --- what a person has edited


@pytest.mark.parametrize(
    "limits",
    [
        {"max_runtime_seconds": "soon"},
        {"max_runtime_seconds": -5},
        {"max_runtime_seconds": 1e300},
        {"max_runtime_seconds": float("nan")},
        {"max_runtime_seconds": True},
        {"max_runtime_seconds": {}},
        {"retry_delay_seconds": "x"},
        {"retry_delay_seconds": -1},
        [1],
        "x",
        7,
    ],
    ids=str,
)
async def test_limits_that_are_none_count_as_not_set(limits: object) -> None:
    queue = FakeQueue([run_of(1, limits=limits), run_of(2)])
    handler = FakeHandler()
    async with working(queue, reports(handler, seconds=60)):
        await queue.until_finished(2)
    assert {job.max_runtime for job in handler.jobs} == {timedelta(seconds=60)}


# --- cancelling


async def test_cancelling_a_run_whose_end_is_being_written_stops_nothing_else() -> None:
    gate = asyncio.Event()

    class Slow(FakeQueue):
        async def finish(self, worker_id: WorkerId, outcomes: Outcomes) -> frozenset[int]:
            await gate.wait()
            return await super().finish(worker_id, outcomes)

    async def does(job: Job) -> dict[str, Any]:
        return await hanging(job) if job.job_id == 2 else {}

    queue = Slow([run_of(1), run_of(2)])
    async with working(queue, reports(FakeHandler(does)), drain=SOON):
        queue.cancels = frozenset({1})
        await asyncio.sleep(1.1)  # until it has been asked for
        gate.set()
        queue.cancels = frozenset({2})
        await queue.until_finished(2)
    assert isinstance(queue.outcome(1), Completion)
    assert queue.outcome(2) == Cancelled(run_of(2))


async def test_run_that_is_over_its_time_and_then_cancelled_is_given_up_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atf.jobs.pool.GRACE_SECONDS", 1.5)
    free = asyncio.Event()

    async def stubborn(job: Job) -> dict[str, Any]:
        await ignoring_cancellation(free)
        return {}

    queue = FakeQueue([run_of(1, limits={"max_runtime_seconds": 0.01})])
    async with working(queue, reports(FakeHandler(stubborn), concurrency=1)):
        queue.cancels = frozenset({1})
        await queue.until_finished(1)
        free.set()
    assert queue.outcome(1).run == run_of(1, limits={"max_runtime_seconds": 0.01})


# --- writing down


async def test_outcome_that_nobody_foresaw_fails_its_run_alone() -> None:
    class Choosy(FakeQueue):
        async def finish(self, worker_id: WorkerId, outcomes: Outcomes) -> frozenset[int]:
            if any(one.result == {"job": 2} for one in outcomes.completions):
                raise KeyError("a mapping of the handler's own")
            return await super().finish(worker_id, outcomes)

    queue = Choosy([run_of(number) for number in range(1, 5)])
    async with working(queue, reports(FakeHandler())):
        await queue.until_finished(4)
    assert [one.run.key.id for one in queue.finished if isinstance(one, Failure)] == [2]


async def test_failure_that_the_database_refuses_is_kept_in_hand_and_written_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atf.jobs.outcome_writer._LONG_PAUSE_SECONDS", 0.1)
    queue = FakeQueue([run_of(1)])
    queue.finish_raises = [InvariantViolation("a permission"), InvariantViolation("a permission")]
    async with working(queue, reports(FakeHandler(raising(KeyError("x"))))):
        await until(lambda: not queue.finish_raises)
        assert queue.finished == []
        await queue.until_finished(1)
    failure = queue.outcome(1)
    assert isinstance(failure, Failure)
    assert not failure.is_permanent


async def test_database_that_refuses_the_password_for_a_while_costs_no_outcome() -> None:
    queue = FakeQueue([run_of(1)])
    queue.finish_raises = [ConfigurationError("the database refuses this user or password")]
    async with working(queue, reports(FakeHandler())):
        await queue.until_finished(1)
    assert isinstance(queue.outcome(1), Completion)


# --- leases


async def test_handler_that_outlives_its_lease_keeps_no_slot_from_the_next_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atf.jobs.pool.GRACE_SECONDS", 0.05)
    free = asyncio.Event()

    async def does(job: Job) -> dict[str, Any]:
        if job.job_id == 1:
            await ignoring_cancellation(free)
        return {}

    leases = FakeLeases()
    handler = FakeHandler(does)
    queue = FakeQueue([run_of(1)])
    async with working(queue, reports(handler, concurrency=1), leases=leases, lease_seconds=0.2) as shop:
        await handler.began.wait()
        leases.renews = False
        await until(lambda: not list(shop.worker._pools["report"].in_hand))
        leases.renews = True
        queue.claims = [[run_of(2)]]
        shop.waiter.wake()
        await queue.until_finished(1)
        free.set()
    assert [one.run.key.id for one in queue.finished] == [2]


async def test_batch_that_outlives_its_lease_does_not_touch_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atf.jobs.pool.GRACE_SECONDS", 0.05)
    free = asyncio.Event()

    async def does(batch: ClaimedBatch) -> None:
        if batch.runs[0].key.id == 1:
            await ignoring_cancellation(free)
        else:
            await hanging(batch)

    leases, handler = FakeLeases(), FakeBatchHandler(does)
    queue = FakeQueue([run_of(1, "alert")])
    duty = Duty(definition("alert"), handler, is_batch=True)
    async with working(queue, duty, leases=leases, lease_seconds=0.2, drain=SOON) as shop:
        pool = shop.worker._pools["alert"]
        leases.renews = False
        await until(lambda: not list(pool.in_hand))
        leases.renews = True
        queue.claims = [[run_of(2, "alert")]]
        shop.waiter.wake()
        await until(lambda: len(handler.batches) == 2)
        free.set()
        await asyncio.sleep(0.01)
        assert list(pool.in_hand) == [2]
        assert pool.wanted is not None


async def test_lost_lease_stops_the_runs_though_the_database_does_not_answer() -> None:
    class Silent(FakeQueue):
        async def cancel_requests(self, worker_id: WorkerId) -> frozenset[int]:
            return await hanging(None)  # type: ignore[no-any-return]

    leases, handler = FakeLeases(), FakeHandler(hanging)
    queue = Silent([run_of(1)])
    async with working(queue, reports(handler), leases=leases, lease_seconds=4, drain=SOON):
        await handler.began.wait()
        await asyncio.sleep(1.1)  # until it asks
        leases.renews = False
        async with asyncio.timeout(1.6):  # before the next round, which comes after three seconds
            await until(lambda: handler.present == 0)
    assert queue.finished == []


# --- the table and the worker disagree


async def test_what_only_the_table_holds_to_be_in_hand_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atf.jobs.worker._COMPARE_SECONDS", 0.0)
    queue = FakeQueue([run_of(1)])
    handler = FakeHandler(hanging)
    async with working(queue, reports(handler), drain=SOON) as shop:
        await handler.began.wait()
        shop.waiter.wake()
        await until(lambda: {1} in queue.handed_back)
        assert handler.present == 1, "what is at work stays at work"


async def test_run_that_was_taken_away_and_claimed_again_is_done_once_and_by_the_later_try() -> None:
    async def does(job: Job) -> dict[str, Any]:
        return await hanging(job) if job.name == "first" else {}

    first, second = run_of(1, name="first"), run_of(1, name="second")
    handler = FakeHandler(does)
    queue = FakeQueue([first])
    async with working(queue, reports(handler, concurrency=2)) as shop:
        await handler.began.wait()
        queue.claims = [[second]]
        shop.waiter.wake()
        await queue.until_finished(1)
        await until(lambda: handler.present == 0)
        pool = shop.worker._pools["report"]
        wanted = pool.wanted
        assert wanted is not None
        assert (list(pool.in_hand), wanted.limit) == ([], 2)
    assert [one.run for one in queue.finished] == [second]


async def test_run_that_is_claimed_again_before_its_end_is_known_to_be_written_leaves_no_trace() -> None:
    again = replace(run_of(1), attempt=2)

    class Overtaking(FakeQueue):
        async def finish(self, worker_id: WorkerId, outcomes: Outcomes) -> frozenset[int]:
            if outcomes.failures:
                self.claims = [[again]]
                shop.waiter.wake()
                await until(lambda: not self.claims)
            return await super().finish(worker_id, outcomes)

    async def does(job: Job) -> dict[str, Any]:
        if job.attempt == 1:
            raise KeyError("x")
        return {}

    queue = Overtaking([])
    async with working(queue, reports(FakeHandler(does), concurrency=2, seconds=60)) as shop:
        queue.claims = [[run_of(1)]]
        shop.waiter.wake()
        await queue.until_finished(2)
        await asyncio.sleep(0)
        pool: Any = shop.worker._pools["report"]
        assert (list(pool.in_hand), pool._unwritten) == ([], 0)


# --- the end


async def test_database_that_hangs_does_not_keep_the_worker_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atf.jobs.claim_loop._LONGEST_GOODBYE_SECONDS", 0.05)

    class Hanging(FakeQueue):
        async def hand_back(self, worker_id: WorkerId, *, keep: Collection[int]) -> int:
            return await hanging(None)  # type: ignore[no-any-return]

    class HangingLeases(FakeLeases):
        async def remove(self, worker_id: WorkerId) -> None:
            await hanging(None)

    async with asyncio.timeout(5):
        async with working(Hanging([]), reports(FakeHandler()), leases=HangingLeases()):
            pass
