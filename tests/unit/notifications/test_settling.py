"""How tries ended, recorded many at once and until the database has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.unit.notifications.sending_fakes import ME, MemoryOutbox, delivery, simulated

from atf.errors import DatabaseUnavailable, InvariantViolation, TransactionConflict
from atf.notifications.message import DeliveryStatus
from atf.notifications.outbox import Settled
from atf.notifications.settling import Settler

SENT, PENDING = DeliveryStatus.SENT, DeliveryStatus.PENDING


async def claimed(count: int) -> MemoryOutbox:
    outbox = MemoryOutbox(*(delivery(number) for number in range(1, count + 1)))
    await outbox.claim(ME, "phone", count, disturbs=False)
    return outbox


def sent(number: int) -> list[Settled]:
    return [Settled(delivery(number), SENT)]


@asynccontextmanager
async def at_work(outbox: MemoryOutbox) -> AsyncIterator[Settler]:
    settler = Settler(outbox, ME, jitter=lambda: 1.0)
    task = asyncio.create_task(settler.run())
    yield settler
    task.cancel()
    await asyncio.wait({task})


@simulated
async def test_an_ending_is_recorded_when_settle_returns() -> None:
    outbox = await claimed(2)
    async with at_work(outbox) as settler:
        await settler.settle(sent(1))
        assert outbox.statuses[1] is SENT
        await settler.settle((), [2])
        assert outbox.statuses[2] is PENDING


@simulated
async def test_those_that_end_together_are_one_transaction_and_one_alone_waits_for_nobody() -> None:
    outbox = await claimed(20)
    async with at_work(outbox) as settler:
        await settler.settle(sent(1))
        await asyncio.gather(*(settler.settle(sent(number)) for number in range(2, 21)))
        assert outbox.transactions == [[1], list(range(2, 21))]


@simulated
async def test_what_ends_during_a_transaction_goes_into_the_next_one() -> None:
    outbox = await claimed(6)
    outbox.settle_takes = 1.0
    async with at_work(outbox) as settler:
        tasks = [asyncio.create_task(settler.settle(sent(1)))]
        await asyncio.sleep(0.5)
        tasks += [asyncio.create_task(settler.settle(sent(number))) for number in range(2, 7)]
        await asyncio.wait(tasks)
        assert outbox.transactions == [[1], [2, 3, 4, 5, 6]]
        assert asyncio.get_running_loop().time() == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("gone"), OSError("no route"), TransactionConflict("again")]
)
@simulated
async def test_while_the_database_is_away_it_is_tried_again_ever_more_slowly(error: Exception) -> None:
    outbox = await claimed(1)
    outbox.settle_errors.extend([error] * 8)
    async with at_work(outbox) as settler:
        await settler.settle(sent(1))
        assert outbox.statuses[1] is SENT
        took = 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 3 * 5
        assert asyncio.get_running_loop().time() == pytest.approx(took, abs=0.01)


@simulated
async def test_another_error_ends_it() -> None:
    outbox = await claimed(1)
    outbox.settle_errors.append(InvariantViolation("refused"))
    settler = Settler(outbox, ME)
    task = asyncio.create_task(settler.run())
    asking = asyncio.create_task(settler.settle(sent(1)))
    with pytest.raises(InvariantViolation):
        await task
    assert not asking.done(), "who waits for it is ended by whoever began both"
    asking.cancel()


@simulated
async def test_who_does_not_wait_any_more_keeps_nobody_from_being_told() -> None:
    outbox = await claimed(2)
    outbox.settle_takes = 1.0
    async with at_work(outbox) as settler:
        gone, there = (asyncio.create_task(settler.settle(sent(number))) for number in (1, 2))
        await asyncio.sleep(0.5)
        gone.cancel()
        await there
        assert outbox.statuses == {1: SENT, 2: SENT}, "it was sent all the same"
