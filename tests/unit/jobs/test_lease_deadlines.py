import asyncio
from datetime import timedelta

import pytest

from atf.errors import DatabaseUnavailable
from atf.jobs import lease as lease_module
from atf.jobs.lease import Holder, Lease, LeaseLost
from atf.jobs.run import WorkerId

# Wall time only wakes the renewer and the guard, often; the fake clock alone decides what they find.
LENGTH = 0.03


class FakeTime:
    def __init__(self) -> None:
        self.seconds = 5000.0

    def boot_seconds(self) -> float:
        return self.seconds


class FakeStore:
    """Notes what is written; ``answers`` are those of the next renewals, then all succeed."""

    def __init__(self, time: FakeTime) -> None:
        self.time = time
        self.registered: list[WorkerId] = []
        self.removed: list[WorkerId] = []
        self.answers: list[bool | Exception] = []
        self.renewals = 0
        self.renewed = asyncio.Event()
        self.seconds_to_register = 0.0
        self.remove_fails = False
        self.register_fails = False
        self.stands_still: asyncio.Event | None = None

    async def register(self, holder: Holder, lease: timedelta) -> None:
        assert holder.host
        assert holder.pid
        assert holder.types == ("alert",)
        assert lease.total_seconds() == LENGTH
        self.registered.append(holder.worker_id)
        self.time.seconds += self.seconds_to_register
        if self.stands_still is not None:
            self.stands_still.set()
            await asyncio.Event().wait()
        if self.register_fails:
            raise DatabaseUnavailable("the answer is lost")

    async def renew(self, worker_id: WorkerId, lease: timedelta) -> bool:
        self.renewals += 1
        self.renewed.set()
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def remove(self, worker_id: WorkerId) -> None:
        if self.remove_fails:
            raise DatabaseUnavailable("gone")
        self.removed.append(worker_id)

    async def next_renewal(self) -> None:
        """Return when a renewal has been asked for and its answer has been taken in."""
        self.renewed.clear()
        async with asyncio.timeout(5):
            await self.renewed.wait()
        await asyncio.sleep(0)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(lease_module, "boot_seconds", fake.boot_seconds)
    return fake


@pytest.fixture
def store(time: FakeTime) -> FakeStore:
    return FakeStore(time)


@pytest.fixture
def lease(store: FakeStore) -> Lease:
    return Lease(store, name="w", types=["alert"], length=timedelta(seconds=LENGTH))


class Work:
    """Something that never ends by itself and notes that it was cancelled."""

    def __init__(self) -> None:
        self.was_cancelled = False
        self.task = asyncio.create_task(self._forever())

    async def _forever(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


async def test_one_incarnation_as_long_as_it_lives(lease: Lease, store: FakeStore) -> None:
    first = await lease.acquire()
    assert await lease.acquire() == first
    assert store.registered == [first]
    assert first.startswith("w-")
    await lease.release()


async def test_lapsed_lease_is_followed_by_a_new_name(lease: Lease, store: FakeStore, time: FakeTime) -> None:
    first = await lease.acquire()
    time.seconds += LENGTH
    assert lease.is_over
    second = await lease.acquire()
    assert store.registered == [first, second]
    assert first != second
    await lease.release()


async def test_deadline_counts_from_before_the_registration_was_sent(lease: Lease, store: FakeStore) -> None:
    store.seconds_to_register = 0.02
    await lease.acquire()
    assert lease.seconds_left == pytest.approx(0.01)
    await lease.release()


async def test_renewal_extends_the_lease(lease: Lease, store: FakeStore, time: FakeTime) -> None:
    await lease.acquire()
    for _ in range(3):
        time.seconds += LENGTH * 0.9
        await store.next_renewal()
        assert lease.seconds_left == pytest.approx(LENGTH)
    await lease.release()


@pytest.mark.parametrize("error", [DatabaseUnavailable("gone"), OSError("no route")])
async def test_failed_renewal_is_tried_again(
    lease: Lease, store: FakeStore, time: FakeTime, error: Exception
) -> None:
    store.answers = [error, error]
    await lease.acquire()
    time.seconds += LENGTH * 0.9
    await store.next_renewal()
    await store.next_renewal()
    assert lease.seconds_left == pytest.approx(LENGTH * 0.1)
    await store.next_renewal()
    assert lease.seconds_left == pytest.approx(LENGTH)
    await lease.release()


async def test_guarded_work_gives_its_result_or_its_error(lease: Lease) -> None:
    async def answers() -> int:
        return 42

    async def fails() -> int:
        raise ZeroDivisionError

    await lease.acquire()
    assert await lease.guard(asyncio.create_task(answers())) == 42
    with pytest.raises(ZeroDivisionError):
        await lease.guard(asyncio.create_task(fails()))
    await lease.release()


async def test_guarded_work_outlives_its_first_deadline_if_the_lease_is_renewed(
    lease: Lease, store: FakeStore, time: FakeTime
) -> None:
    await lease.acquire()
    done = asyncio.Event()
    guarded = asyncio.create_task(lease.guard(asyncio.create_task(done.wait())))
    for _ in range(3):
        time.seconds += LENGTH * 0.9
        await store.next_renewal()
    done.set()
    assert await guarded
    await lease.release()


async def test_work_is_cancelled_when_the_lease_lapses(lease: Lease, store: FakeStore, time: FakeTime) -> None:
    store.answers = [DatabaseUnavailable("gone")] * 1000
    await lease.acquire()
    work = Work()
    guarded = asyncio.create_task(lease.guard(work.task))
    await store.next_renewal()
    time.seconds += LENGTH
    with pytest.raises(LeaseLost):
        await guarded
    assert work.was_cancelled
    await lease.release()


async def test_lease_that_was_taken_away_ends_the_work_before_its_deadline(
    lease: Lease, store: FakeStore, time: FakeTime
) -> None:
    await lease.acquire()
    time.seconds -= 1000  # the deadline is far off now
    store.answers = [False]
    work = Work()
    async with asyncio.timeout(5):
        with pytest.raises(LeaseLost):
            await lease.guard(work.task)
    assert work.was_cancelled
    assert lease.is_over
    first = store.registered[0]
    assert await lease.acquire() != first
    await lease.release()


async def test_cancelled_guard_cancels_its_work(lease: Lease) -> None:
    await lease.acquire()
    work = Work()
    guarded = asyncio.create_task(lease.guard(work.task))
    await asyncio.sleep(0)
    guarded.cancel()
    with pytest.raises(asyncio.CancelledError):
        await guarded
    assert work.was_cancelled
    await lease.release()


async def test_a_row_that_nobody_waited_for_is_removed(lease: Lease, store: FakeStore) -> None:
    store.stands_still = asyncio.Event()
    asking = asyncio.create_task(lease.acquire())
    await store.stands_still.wait()
    asking.cancel()
    await asyncio.wait({asking})
    assert lease.is_over
    await lease.release()
    assert store.removed == store.registered != []


async def test_a_row_whose_answer_was_lost_is_asked_for_by_the_same_name(lease: Lease, store: FakeStore) -> None:
    store.register_fails = True
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await lease.acquire()
    store.register_fails = False
    worker_id = await lease.acquire()
    assert store.registered == [worker_id] * 3
    await lease.release()
    assert store.removed == [worker_id]


async def test_release_is_harmless_when_repeated_or_early(lease: Lease, store: FakeStore) -> None:
    await lease.release()
    worker_id = await lease.acquire()
    await lease.release()
    await lease.release()
    assert store.removed == [worker_id]
    assert lease.is_over
    assert await lease.acquire() != worker_id
    await lease.release()


async def test_release_survives_a_database_that_is_gone(lease: Lease, store: FakeStore) -> None:
    await lease.acquire()
    store.remove_fails = True
    await lease.release()
    assert lease.is_over


async def test_released_lease_is_renewed_no_more(lease: Lease, store: FakeStore) -> None:
    await lease.acquire()
    await store.next_renewal()
    renewer = lease._renewer
    await lease.release()
    assert renewer is not None
    with pytest.raises(asyncio.CancelledError):
        await renewer
