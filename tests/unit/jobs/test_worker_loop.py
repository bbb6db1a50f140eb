"""The worker: what it claims, what becomes of runs, and what is given back when something goes wrong."""

import asyncio
import logging
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

from atf.errors import DatabaseUnavailable, InvalidInput, PermanentFailure, TemporaryFailure, UnstorableData
from atf.jobs.handler import Job
from atf.jobs.queue import Cancelled, PutBack
from atf.jobs.run import ClaimedBatch, Completion, Failure
from atf.jobs.worker import Duty

SOON = timedelta(milliseconds=50)


def reports(handler: FakeHandler, **limits: Any) -> Duty:
    return Duty(definition(**limits), handler)


def alerts(handler: FakeBatchHandler, seconds: float = 60) -> Duty:
    return Duty(definition("alert", seconds=seconds), handler, is_batch=True)


async def test_each_run_ends_with_what_its_handler_returned() -> None:
    queue = FakeQueue([run_of(1, target="AAPL", task_params={"a": 1}), run_of(2)], [run_of(3)])
    handler = FakeHandler()
    async with working(queue, reports(handler)) as shop:
        await queue.until_finished(3)
        assert [(job.job_id, job.target, dict(job.task_params)) for job in handler.jobs] == [
            (1, "AAPL", {"a": 1}),
            (2, "", {}),
            (3, "", {}),
        ]
        first = queue.outcome(1)
        assert isinstance(first, Completion)
        assert first.result == {"job": 1}
        figures = shop.metrics.of("report")
        assert (figures.claimed, dict(figures.outcomes), figures.running.count) == (3, {"completed": 3}, 3)


async def test_no_more_run_at_once_than_the_type_allows() -> None:
    async def attend(job: Job) -> dict[str, Any]:
        await asyncio.sleep(0.001)
        return {}

    handler = FakeHandler(attend)
    queue = FakeQueue([run_of(number) for number in range(1, 8)])
    async with working(queue, reports(handler, concurrency=3)):
        await queue.until_finished(7)
    assert handler.most == 3


async def test_long_runs_are_not_claimed_before_there_is_room_for_them() -> None:
    queue = FakeQueue([run_of(1)])
    async with working(queue, reports(FakeHandler(hanging), concurrency=2), drain=SOON):
        assert [wanted[0].limit for wanted in queue.wanted] == [2, 1]


async def test_room_that_becomes_free_is_filled_at_once() -> None:
    gate = asyncio.Event()

    async def waits(job: Job) -> dict[str, Any]:
        await gate.wait()
        return {}

    queue = FakeQueue([run_of(1), run_of(2)])
    async with working(queue, reports(FakeHandler(waits), concurrency=2)):
        claims = len(queue.wanted)
        queue.claims = [[run_of(3)]]
        gate.set()
        await queue.until_finished(3)
        assert len(queue.wanted) > claims


@pytest.mark.parametrize(
    ("error", "is_permanent", "seconds"),
    [
        (KeyError("a mistake"), False, 10),
        (TemporaryFailure("later"), False, 10),
        (TemporaryFailure("much later", retry_after_seconds=77), False, 77),
        (PermanentFailure("never"), True, None),
        (InvalidInput("is wrong", field="x"), True, None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_errors_say_whether_and_when_to_try_again(
    error: Exception, is_permanent: bool, seconds: float | None
) -> None:
    queue = FakeQueue([run_of(1)])
    async with working(queue, reports(FakeHandler(raising(error)))):
        await queue.until_finished(1)
    failure = queue.outcome(1)
    assert isinstance(failure, Failure)
    assert (failure.error, failure.is_permanent) == (error, is_permanent)
    if seconds is not None:
        assert failure.retry_in == timedelta(seconds=seconds)


async def test_pauses_double_with_every_attempt_and_a_schedule_may_set_the_first() -> None:
    slow = run_of(2, attempt=3, limits={"retry_delay_seconds": 2})
    queue = FakeQueue([run_of(1, attempt=3), slow])
    async with working(queue, reports(FakeHandler(raising(KeyError("x"))))):
        await queue.until_finished(2)
    assert {outcome.run.key.id: getattr(outcome, "retry_in", None) for outcome in queue.finished} == {
        1: timedelta(seconds=40),
        2: timedelta(seconds=8),
    }


async def test_run_that_takes_too_long_is_stopped_and_its_neighbour_is_not() -> None:
    async def one_hangs(job: Job) -> dict[str, Any]:
        if job.job_id == 1:
            await asyncio.Event().wait()
        await asyncio.sleep(0.05)
        return {}

    slow = run_of(1, limits={"max_runtime_seconds": 0.01})
    queue = FakeQueue([slow, run_of(2)])
    async with working(queue, reports(FakeHandler(one_hangs))):
        await queue.until_finished(2)
    failure = queue.outcome(1)
    assert isinstance(failure, Failure)
    assert (str(failure.error), failure.is_permanent) == ("took longer than 0.01 s", False)
    assert isinstance(queue.outcome(2), Completion)


async def test_timeout_of_the_handler_s_own_stays_what_it_is() -> None:
    own = TimeoutError("a provider's")
    queue = FakeQueue([run_of(1)])
    async with working(queue, reports(FakeHandler(raising(own)))):
        await queue.until_finished(1)
    failure = queue.outcome(1)
    assert isinstance(failure, Failure)
    assert failure.error is own


async def test_handler_that_ignores_being_stopped_loses_its_run_and_its_slot_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atf.jobs.pool.GRACE_SECONDS", 0.05)
    free = asyncio.Event()

    async def stubborn(job: Job) -> dict[str, Any]:
        while job.job_id == 1 and not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        return {}

    queue = FakeQueue([run_of(1, limits={"max_runtime_seconds": 0.01}), run_of(2), run_of(3)])
    async with working(queue, reports(FakeHandler(stubborn), concurrency=1)):
        await queue.until_finished(3)
        failure = queue.outcome(1)
        assert isinstance(failure, Failure)
        assert "did not stop" in str(failure.error)
        free.set()
        await asyncio.sleep(0)
    assert len(queue.finished) == 3


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(asyncio.CancelledError(), "ended by CancelledError"), (SystemExit(3), "ended by SystemExit")],
)
async def test_handler_that_ends_in_another_way_than_by_an_error_costs_its_run(
    error: BaseException, sentence: str
) -> None:
    async def does(job: Job) -> dict[str, Any]:
        raise error

    queue = FakeQueue([run_of(1)])
    async with working(queue, reports(FakeHandler(does))):
        await queue.until_finished(1)
    failure = queue.outcome(1)
    assert isinstance(failure, Failure)
    assert sentence in str(failure.error)


async def test_result_that_is_no_object_is_refused_for_good() -> None:
    async def does(job: Job) -> Any:
        return [1]

    queue = FakeQueue([run_of(1)])
    async with working(queue, reports(FakeHandler(does))):
        await queue.until_finished(1)
    failure = queue.outcome(1)
    assert isinstance(failure, Failure)
    assert (failure.is_permanent, str(failure.error)) == (True, "the handler returned list instead of an object")


async def test_cancelled_run_is_stopped_and_ends_so() -> None:
    handler = FakeHandler(hanging)
    queue = FakeQueue([run_of(1)])
    async with working(queue, reports(handler)):
        await handler.began.wait()
        queue.cancels = frozenset({1})
        await queue.until_finished(1)
    assert queue.outcome(1) == Cancelled(run_of(1))


async def test_run_that_waits_for_a_slot_is_cancelled_without_beginning() -> None:
    handler = FakeHandler(hanging)
    queue = FakeQueue([run_of(1), run_of(2)])
    async with working(queue, reports(handler, concurrency=1), drain=SOON):
        queue.cancels = frozenset({2})
        await queue.until_finished(1)
        assert [job.job_id for job in handler.jobs] == [1]
        assert queue.finished == [Cancelled(run_of(2))]


async def test_check_of_the_type_is_applied_again_before_the_handler_sees_the_run() -> None:
    def check(target: str, task_params: object) -> None:
        raise InvalidInput("is not what it was", field="task_params.x")

    handler = FakeHandler()
    queue = FakeQueue([run_of(1)])
    strict = definition()
    object.__setattr__(strict, "check", check)
    async with working(queue, Duty(strict, handler)):
        await queue.until_finished(1)
    failure = queue.outcome(1)
    assert isinstance(failure, Failure)
    assert (failure.is_permanent, handler.jobs) == (True, [])


async def test_outcomes_that_the_database_does_not_take_now_are_written_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = FakeQueue([run_of(1)])
    queue.finish_raises = [DatabaseUnavailable("gone"), OSError("no route")]
    async with working(queue, reports(FakeHandler())):
        await queue.until_finished(1)
    assert isinstance(queue.outcome(1), Completion)
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]


async def test_result_that_cannot_be_stored_fails_its_run_alone() -> None:
    class Choosy(FakeQueue):
        async def finish(self, worker_id: Any, outcomes: Any) -> frozenset[int]:
            if any(one.result == {"job": 3} for one in outcomes.completions):
                raise UnstorableData("a NUL")
            return await super().finish(worker_id, outcomes)

    queue = Choosy([run_of(number) for number in range(1, 7)])
    async with working(queue, reports(FakeHandler())):
        await queue.until_finished(6)
    failures = [one for one in queue.finished if isinstance(one, Failure)]
    assert [(one.run.key.id, one.is_permanent) for one in failures] == [(3, True)]
    assert sum(isinstance(one, Completion) for one in queue.finished) == 5


async def test_outcome_of_a_run_that_was_taken_away_is_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    queue = FakeQueue([run_of(1), run_of(2)])
    queue.refuses = {1}
    async with working(queue, reports(FakeHandler())) as shop:
        await queue.until_finished(2)
        await asyncio.sleep(0)
        assert dict(shop.metrics.of("report").outcomes) == {"refused": 1, "completed": 1}
    assert "taken away meanwhile" in caplog.text


async def test_claim_whose_answer_was_lost_is_given_back_but_not_what_is_at_work() -> None:
    handler = FakeHandler(hanging)
    queue = FakeQueue([run_of(1)], DatabaseUnavailable("gone"))
    async with working(queue, reports(handler), drain=SOON) as shop:
        async with asyncio.timeout(5):
            while not queue.handed_back:
                shop.waiter.wake()
                await asyncio.sleep(0.01)
        assert queue.handed_back == [{1}]


async def test_stop_lets_running_runs_end_and_puts_back_what_has_not_begun() -> None:
    gate = asyncio.Event()

    async def waits(job: Job) -> dict[str, Any]:
        asyncio.get_running_loop().call_later(0.05, gate.set)
        await gate.wait()
        return {}

    queue, leases = FakeQueue([run_of(1), run_of(2)]), FakeLeases()
    async with working(queue, reports(FakeHandler(waits), concurrency=1), leases=leases):
        pass
    assert isinstance(queue.outcome(1), Completion)
    assert queue.outcome(2) == PutBack(run_of(2))
    assert queue.handed_back == [set()]
    assert len(leases.removed) == 1


async def test_stop_hands_back_what_does_not_end_in_time() -> None:
    order: list[str] = []

    async def hangs(job: Job) -> dict[str, Any]:
        try:
            return await hanging(job)  # type: ignore[no-any-return]
        finally:
            order.append("handler ended")

    class Noting(FakeQueue):
        async def hand_back(self, worker_id: Any, *, keep: Any) -> int:
            order.append(f"handed back all but {list(keep)}")
            return 1

    queue = Noting([run_of(1)])
    handler = FakeHandler(hangs)
    async with working(queue, reports(handler), drain=SOON):
        await handler.began.wait()
    assert order == ["handler ended", "handed back all but []"]
    assert queue.finished == []


async def test_lost_lease_stops_everything_and_a_new_one_begins() -> None:
    leases = FakeLeases()
    handler = FakeHandler(hanging)
    queue = FakeQueue([run_of(1)])
    async with working(queue, reports(handler), leases=leases, lease_seconds=0.2, drain=SOON) as shop:
        await handler.began.wait()
        leases.renews = False
        async with asyncio.timeout(2.5):  # before the next round, which comes after three seconds
            while handler.present:  # noqa: ASYNC110 - the fakes have no events for it
                await asyncio.sleep(0.01)
        assert len(leases.registered) == 1
        shop.waiter.wake()
        async with asyncio.timeout(5):
            while len(leases.registered) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert queue.finished == []


# --- batches


async def test_batch_is_claimed_whole_and_the_next_one_when_it_is_done() -> None:
    handler = FakeBatchHandler()
    queue = FakeQueue([run_of(1, "alert"), run_of(2, "alert")], [run_of(3, "alert")])
    async with working(queue, alerts(handler)) as shop:
        async with asyncio.timeout(5):
            while len(handler.batches) < 2:  # noqa: ASYNC110 - a handler of batches has no event
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert handler.batches == [[1, 2], [3]]
        assert {(one.limit, one.is_batch) for wanted in queue.wanted for one in wanted} == {(7, True)}
        assert shop.metrics.of("alert").outcomes["handled"] == 3


async def test_two_batches_are_in_work_at_a_time_and_no_third() -> None:
    frees = {number: asyncio.Event() for number in (1, 2, 3)}

    async def does(batch: ClaimedBatch) -> None:
        await frees[batch.runs[0].key.id].wait()

    handler = FakeBatchHandler(does)
    queue = FakeQueue(*([run_of(number, "alert")] for number in frees))
    async with working(queue, alerts(handler)) as shop:
        pool = shop.worker._pools["alert"]
        await until(lambda: len(handler.batches) == 2)
        shop.waiter.wake()
        await asyncio.sleep(0.01)
        assert (handler.batches, sorted(pool.in_hand), pool.wanted) == ([[1], [2]], [1, 2], None)
        frees[2].set()
        await until(lambda: len(handler.batches) == 3)
        assert sorted(pool.in_hand) == [1, 3]
        frees[1].set()
        frees[3].set()


async def test_a_run_that_is_claimed_again_stays_in_hand_when_its_first_batch_ends() -> None:
    frees = [asyncio.Event(), asyncio.Event()]

    async def does(batch: ClaimedBatch) -> None:
        await frees[len(handler.batches) - 1].wait()

    handler = FakeBatchHandler(does)
    queue = FakeQueue([run_of(1, "alert")], [run_of(1, "alert")])
    async with working(queue, alerts(handler)) as shop:
        await until(lambda: len(handler.batches) == 2)
        frees[0].set()
        await until(lambda: shop.metrics.of("alert").outcomes["handled"] == 1)
        assert list(shop.worker._pools["alert"].in_hand) == [1]
        frees[1].set()


async def test_types_do_not_wait_for_each_other() -> None:
    queue = FakeQueue([run_of(1, "alert"), run_of(2)])
    async with working(queue, alerts(FakeBatchHandler(hanging)), reports(FakeHandler()), drain=SOON):
        await queue.until_finished(1)
        assert isinstance(queue.outcome(2), Completion)


async def test_batch_whose_handler_raises_fails_and_work_goes_on() -> None:
    mistake = ZeroDivisionError("a mistake")
    queue = FakeQueue([run_of(1, "alert"), run_of(2, "alert")])
    async with working(queue, alerts(FakeBatchHandler(raising(mistake)))):
        await queue.until_finished(2)
    assert [(one.run.key.id, getattr(one, "error", None)) for one in queue.finished] == [
        (1, mistake),
        (2, mistake),
    ]


async def test_batch_that_takes_too_long_is_cancelled_and_fails_to_be_tried_again() -> None:
    queue = FakeQueue([run_of(1, "alert")])
    async with working(queue, alerts(FakeBatchHandler(hanging), seconds=0.02)):
        await queue.until_finished(1)
    failure = queue.outcome(1)
    assert isinstance(failure, Failure)
    assert (str(failure.error), failure.is_permanent) == ("took longer than 0.02 s", False)


async def test_batch_whose_handler_cancels_itself_fails_and_the_next_one_is_claimed() -> None:
    async def does(batch: ClaimedBatch) -> None:
        if batch.runs[0].key.id == 1:
            raise asyncio.CancelledError

    handler = FakeBatchHandler(does)
    queue = FakeQueue([run_of(1, "alert")], [run_of(2, "alert")])
    async with working(queue, alerts(handler)) as shop:
        await queue.until_finished(1)
        async with asyncio.timeout(5):
            while len(handler.batches) < 2:
                shop.waiter.wake()
                await asyncio.sleep(0)
    assert isinstance(queue.outcome(1), Failure)


async def test_batch_that_must_be_tried_again_costs_no_attempt() -> None:
    queue = FakeQueue([run_of(1, "alert"), run_of(2, "alert")])
    async with working(queue, alerts(FakeBatchHandler(raising(TemporaryFailure("later"))))):
        await queue.until_finished(2)
    assert [type(one) for one in queue.finished] == [PutBack, PutBack]
    assert all(one.delay > timedelta(0) for one in queue.finished if isinstance(one, PutBack))
    assert queue.handed_back == [set()]


async def test_each_failed_round_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    queue = FakeQueue(DatabaseUnavailable("gone"), OSError("no route"))
    async with working(queue, reports(FakeHandler())):
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
