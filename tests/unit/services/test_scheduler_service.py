import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from atf.errors import DatabaseUnavailable
from atf.jobs.chores.partition_maker import PartitionMaker
from atf.jobs.chores.rescuer import Rescued, Rescuer
from atf.schedules.group_store import Chunk, Cursor, DueGroup, Firing, GapOfGroup, GroupRules
from atf.schedules.misfire import MisfirePolicy, MisfireRule
from atf.schedules.tick import Tick
from atf.services.scheduler.service import SchedulerService

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GONE = DatabaseUnavailable("gone")


class FakeGroups:
    """One group that fires every hour; notes when it fired."""

    def __init__(self, next_fire_at: datetime | None) -> None:
        self.at = next_fire_at
        self.fired: list[datetime] = []
        self.looked = 0
        self.errors: list[Exception] = []
        self.broken: Exception | None = None

    async def due_groups(self, now: datetime, *, after: DueGroup | None = None) -> list[DueGroup]:
        self.looked += after is None
        if self.errors:
            raise self.errors.pop()
        is_due = after is None and self.at is not None and self.at <= now
        return [DueGroup(1, "0 * * * *", "UTC", self.at)] if is_due and self.at else []

    async def rules(self, groups: Sequence[DueGroup]) -> Mapping[int, GroupRules]:
        rule = MisfireRule(False, MisfirePolicy.RUN_ONCE, HOUR, False)
        return {group.group_id: GroupRules((rule,)) for group in groups}

    async def starts(self, gaps: Sequence[GapOfGroup]) -> Mapping[int, Sequence[datetime]]:
        return {}

    async def fire(self, firings: Sequence[Firing], *, after: Cursor, limit: int) -> Chunk:
        if self.broken:
            raise self.broken
        self.fired += [firing.until for firing in firings]
        self.at = firings[0].next_fire_at
        return Chunk(1, None)

    async def count_active(self) -> int:
        return 0 if self.at is None else 1

    async def park(self, group: DueGroup) -> None:
        raise AssertionError(f"no group is parked here: {group}")

    async def next_fire_at(self, *, without: Sequence[int] = ()) -> datetime | None:
        return None if without else self.at


class FakeMarketClock:
    """Live unless it is given steps: then each step is an hour."""

    def __init__(self, steps: int = 0) -> None:
        self.time = NOON
        self.is_replay = steps > 0
        self.steps_left = steps

    async def now(self) -> datetime:
        return self.time

    async def step(self) -> bool:
        if not self.steps_left:
            return False
        self.steps_left -= 1
        self.time += HOUR
        return True

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        return instant if not self.is_replay or instant <= now else None


class FakeTimer:
    """Notes what it is set to; ``ring`` rings."""

    def __init__(self, ring: Callable[[], Awaitable[None]]) -> None:
        self.ring = ring
        self.set_to: list[datetime | None] = []
        self.chores: dict[str, Callable[[], Awaitable[None]]] = {}
        self.is_running = False
        self.errors: list[Exception] = []

    def start(self) -> None:
        self.is_running = True

    async def stop(self) -> None:
        self.is_running = False

    def ring_at(self, instant: datetime | None) -> None:
        if self.errors:
            raise self.errors.pop()
        self.set_to.append(instant)

    def add_chore(self, name: str, cron_expression: str, callback: Callable[[], Awaitable[None]]) -> None:
        assert not self.is_running
        self.chores[name] = callback


class FakeLock:
    def __init__(self, is_free: bool = True) -> None:
        self.is_free = is_free
        self.is_released = False

    async def try_acquire(self) -> bool:
        return self.is_free

    async def release(self) -> None:
        self.is_released = True


class FakeRescues:
    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.rounds = 0

    async def rescue(self) -> Rescued:
        self.rounds += 1
        if self.errors:
            raise self.errors.pop()
        return Rescued()


class FakePartitions:
    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.made = 0

    async def ensure_ahead(self, now: datetime) -> int:
        if self.errors:
            raise self.errors.pop()
        self.made += 1
        return 1


class FakeWaiter:
    """Ends each wait when the test says so, as a notification or as a poll."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[float] = asyncio.Queue()
        self._answers: asyncio.Queue[bool] = asyncio.Queue()

    async def wait(self, seconds: float) -> bool:
        self._asked.put_nowait(seconds)
        return await self._answers.get()

    async def idle(self) -> float:
        async with asyncio.timeout(5):
            return await self._asked.get()

    async def round(self, *, notified: bool) -> None:
        """Let one round of the service pass."""
        self._answers.put_nowait(notified)
        await self.idle()


class World:
    def __init__(self, next_fire_at: datetime | None = None, *, is_free: bool = True, steps: int = 0) -> None:
        self.groups = FakeGroups(next_fire_at)
        self.clock = FakeMarketClock(steps)
        self.lock = FakeLock(is_free)
        self.waiter = FakeWaiter()
        self.partitions = FakePartitions()
        self.rescues = FakeRescues()
        self.timers: list[FakeTimer] = []
        self.service = SchedulerService(
            Tick(self.groups, self.clock),
            self.clock,
            [Rescuer(self.rescues), PartitionMaker(self.partitions, self.clock)],
            before_first_tick=PartitionMaker(self.partitions, self.clock),
            open_timer=self.open_timer,
            lock=self.lock,
            waiter=self.waiter,
            poll=timedelta(seconds=5),
        )

    def open_timer(self, ring: Callable[[], Awaitable[None]]) -> FakeTimer:
        self.timers.append(FakeTimer(ring))
        return self.timers[-1]

    @property
    def timer(self) -> FakeTimer:
        return self.timers[-1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The service, from the end of its first round."""
        starting = asyncio.create_task(self.service.start())
        try:
            assert await self.waiter.idle() in (5.0, 1.0)
            yield
        finally:
            await self.service.stop()
            await starting


async def test_holder_of_the_lock_sets_the_timer_to_what_is_due_next() -> None:
    world = World(NOON + HOUR)
    async with world.running():
        assert world.timer.is_running
        assert world.timer.set_to == [NOON + HOUR]
        assert set(world.timer.chores) == {"rescuer", "partition_maker"}
        assert world.partitions.made == 1


async def test_first_round_fires_what_was_due_while_nobody_ran() -> None:
    world = World(NOON - HOUR * 7)
    async with world.running():
        assert world.groups.fired == [NOON]
        assert world.timer.set_to == [NOON + HOUR]


async def test_ring_fires_and_sets_the_timer_anew() -> None:
    world = World(NOON + HOUR)
    async with world.running():
        world.clock.time += HOUR
        await world.timer.ring()
        assert world.groups.fired == [NOON + HOUR]
        assert world.timer.set_to[-1] == NOON + HOUR * 2


async def test_notification_sets_the_timer_and_leaves_the_tick_to_it() -> None:
    world = World()
    async with world.running():
        looked = world.groups.looked
        world.groups.at = NOON + timedelta(minutes=1)
        await world.waiter.round(notified=True)
        assert world.timer.set_to == [None, NOON + timedelta(minutes=1)]
        assert world.groups.looked == looked


async def test_poll_ticks_even_if_the_timer_does_not_ring() -> None:
    world = World(NOON + HOUR)
    async with world.running():
        world.clock.time += HOUR
        await world.waiter.round(notified=False)
        assert world.groups.fired == [NOON + HOUR]


async def test_stand_by_has_no_timer_and_ticks() -> None:
    world = World(NOON + HOUR, is_free=False)
    async with world.running():
        world.clock.time += HOUR
        await world.waiter.round(notified=False)
        assert world.groups.fired == [NOON + HOUR]
        assert world.timers == []


async def test_stand_by_takes_over_when_the_lock_is_free() -> None:
    world = World(NOON + HOUR, is_free=False)
    async with world.running():
        world.lock.is_free = True
        await world.waiter.round(notified=False)
        assert world.timer.set_to == [NOON + HOUR]


async def test_lost_lock_stops_the_timer_until_it_is_held_again() -> None:
    world = World(NOON + HOUR)
    async with world.running():
        world.lock.is_free = False
        await world.waiter.round(notified=False)
        assert not world.timer.is_running
        world.lock.is_free = True
        await world.waiter.round(notified=False)
        assert [timer.is_running for timer in world.timers] == [False, True]


async def test_replay_steps_until_something_is_due() -> None:
    world = World(NOON + HOUR * 3, steps=10)
    async with world.running():
        assert world.clock.time == NOON + HOUR * 3
        assert world.timer.set_to == [NOON + HOUR * 3]
        await world.timer.ring()
        assert world.groups.fired == [NOON + HOUR * 3]
        assert world.clock.time == NOON + HOUR * 4


async def test_replay_that_may_not_step_yet_waits_for_a_notification() -> None:
    world = World(NOON + HOUR * 3, steps=1)
    async with world.running():
        assert world.timer.set_to == [None]
        world.clock.steps_left = 2
        await world.waiter.round(notified=True)
        assert world.timer.set_to == [None, NOON + HOUR * 3]


@pytest.mark.parametrize("error", [GONE, OSError("no route")])
async def test_failing_round_is_survived(error: Exception) -> None:
    world = World(NOON + HOUR)
    async with world.running():
        world.clock.time += HOUR
        world.groups.errors = [error]
        await world.waiter.round(notified=False)
        assert world.groups.fired == []
        await world.waiter.round(notified=False)
        assert world.groups.fired == [NOON + HOUR]


async def test_failing_ring_and_failing_timer_are_survived() -> None:
    world = World(NOON + HOUR)
    async with world.running():
        world.clock.time += HOUR
        world.groups.errors = [GONE]
        await world.timer.ring()
        world.timer.errors = [GONE]
        await world.waiter.round(notified=False)
        await world.waiter.round(notified=False)
        assert world.timer.set_to[-1] == NOON + HOUR * 2


async def test_first_tick_waits_for_its_partitions() -> None:
    world = World(NOON)
    world.partitions.errors = [GONE]
    async with world.running():
        assert world.groups.fired == []
        await world.waiter.round(notified=False)
        assert world.groups.fired == [NOON]


async def test_failing_chores_are_survived() -> None:
    world = World()
    async with world.running():
        world.partitions.errors, world.rescues.errors = [GONE], [GONE]
        for _ in range(2):
            for chore in world.timer.chores.values():
                await chore()
        assert (world.partitions.made, world.rescues.rounds) == (2, 2)


async def test_stop_stops_the_timer_and_gives_the_lock_back() -> None:
    world = World()
    async with world.running():
        pass
    assert (world.timer.is_running, world.lock.is_released) == (False, True)


async def test_state_tells_holder_stand_by_and_end() -> None:
    holder, stand_by = World(), World(is_free=False)
    assert holder.service.state == "starting"
    async with holder.running(), stand_by.running():
        assert (holder.service.state, stand_by.service.state) == ("running", "standby")
    assert (holder.service.state, stand_by.service.state) == ("stopped", "stopped")


async def test_a_group_that_cannot_be_fired_shows_and_is_tried_at_every_poll() -> None:
    world = World(NOON)
    world.groups.broken = ValueError("broken")
    async with world.running():
        assert world.service.state == "failing"
        assert world.timer.set_to == [None], "the timer must not ring for it without end"
        world.groups.broken = None
        await world.waiter.round(notified=False)
        assert world.service.state == "running"
        assert world.groups.fired == [NOON]
