"""An outbox in memory, a channel that fails as it is told, and a sender between them in simulated time."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from tests.simulated_time import simulate

from atf.jobs.lease import Holder, Lease
from atf.jobs.run import WorkerId
from atf.lifecycle import Progress
from atf.notifications.channel import UNLIMITED, ChannelLimits, Letter, Reach, Recipient, TextForm
from atf.notifications.channel_sender import ChannelSender
from atf.notifications.lanes import AGEING_SECONDS
from atf.notifications.letter_sender import DeliveryPolicy, Desk
from atf.notifications.message import Attachment, Delivery, DeliveryStatus, OutgoingMessage, Priority
from atf.notifications.outbox import ChannelPause, Settled
from atf.notifications.sending_metrics import ChannelDepth
from atf.testing.letters import PlainWriter

NOON: Final = datetime(2027, 3, 1, 12, tzinfo=UTC)
PHOTO: Final = Attachment("chart.png", "image/png", b"png")
ME: Final = WorkerId("me")


def delivery(number: int, user: int = 1, *, later: float = 0.0, **changes: Any) -> Delivery:
    """A delivery whose text is its number, written at noon or seconds later."""
    plain = Delivery(
        id=number,
        message_id=number,
        user_id=user,
        channel="phone",
        attempts=0,
        dedup_key=f"key-{number}:phone",
        notification_type="alert",
        title="Alert",
        body=str(number),
        payload={},
        created_at=NOON + timedelta(seconds=later),
    )
    return replace(plain, **changes)


def numbers_of(letter: Letter) -> tuple[int, ...]:
    """The deliveries that a letter is made of."""
    return tuple(int(line.rpartition(" ")[2]) for line in letter.text.splitlines())


def simulated(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Let a test run in simulated time, ``time.monotonic`` included; the lease's clock stands still."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def work() -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(time, "monotonic", asyncio.get_running_loop().time)
                await test(*args, **kwargs)

        simulate(work())

    return run


async def until(condition: Callable[[], object], *, within: float = 3600.0) -> None:
    """Wait for a condition, in simulated time."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - time is simulated
            await asyncio.sleep(0.01)


@dataclass
class Row:
    """A delivery as it is stored; ``due_at`` in the time of the loop."""

    delivery: Delivery
    status: DeliveryStatus = DeliveryStatus.PENDING
    due_at: float = 0.0
    waits: bool = False
    sender_id: WorkerId | None = None

    @property
    def place(self) -> tuple[bool, float, int]:
        ageing = AGEING_SECONDS if self.delivery.priority is Priority.NORMAL else 0.0
        return self.delivery.priority is not Priority.URGENT, self.due_at + ageing, self.delivery.id

    @property
    def line(self) -> tuple[int, str, int]:
        return self.delivery.user_id, self.delivery.lane, self.delivery.priority.urgency


class MemoryOutbox:
    """Keeps deliveries as the database does.

    ``claim_errors``, ``settle_errors``, ``file_errors`` are raised first; ``transactions``: what was settled
    together.
    """

    def __init__(self, *deliveries: Delivery) -> None:
        self.rows = {one.id: Row(one) for one in deliveries}
        self.claim_errors: deque[Exception] = deque()
        self.settle_errors: deque[Exception] = deque()
        self.file_errors: deque[Exception] = deque()
        self.settle_takes = 0.0
        self.settled: list[Settled] = []
        self.transactions: list[list[int]] = []
        self.files_read: list[int] = []
        self.claims: list[tuple[str, int, bool]] = []
        self.pauses: list[ChannelPause | None] = []
        self.taken: ChannelPause | bool = True
        self.released = 0
        self.keys: set[str] = set()
        self.on_change: Callable[[], None] = lambda: None

    async def depth(self) -> Mapping[str, ChannelDepth]:
        return {}

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        new = {message.dedup_key for message in messages} - self.keys
        self.keys |= new
        return len(new)

    def put(self, *deliveries: Delivery) -> None:
        """Write more deliveries."""
        self.rows |= {one.id: Row(one) for one in deliveries}
        self.on_change()

    async def take_channel(self, sender_id: WorkerId, channel: str) -> ChannelPause | bool:
        await asyncio.sleep(0)
        return self.taken

    async def claim(
        self,
        sender_id: WorkerId,
        channel: str,
        limit: int,
        *,
        disturbs: bool,
        crowded: Collection[tuple[int, int]] = (),
    ) -> Sequence[Delivery]:
        self.claims.append((channel, limit, disturbs))
        if self.claim_errors:
            raise self.claim_errors.popleft()
        due = sorted(self._due(crowded), key=lambda row: row.place)[:limit]
        for row in due:
            row.status, row.sender_id = DeliveryStatus.SENDING, sender_id
        await asyncio.sleep(0)
        return [row.delivery for row in due]

    async def attachments(self, message_id: int) -> Sequence[Attachment]:
        self.files_read.append(message_id)
        if self.file_errors:
            raise self.file_errors.popleft()
        return [PHOTO]

    def _due(self, crowded: Collection[tuple[int, int]]) -> Iterator[Row]:
        waiting = [row for row in self.rows.values() if row.waits]
        for row in self.rows.values():
            is_behind = any(one.line == row.line and one.delivery.id < row.delivery.id for one in waiting)
            is_due = row.status is DeliveryStatus.PENDING and row.due_at <= time.monotonic()
            if is_due and not is_behind and (row.delivery.user_id, row.line[2]) not in crowded:
                yield row

    async def settle(
        self, sender_id: WorkerId, settled: Sequence[Settled], untouched: Collection[int] = ()
    ) -> None:
        await asyncio.sleep(self.settle_takes)
        if self.settle_errors:
            raise self.settle_errors.popleft()
        for number in untouched:
            self._give_back(self.rows[number])
        for one in settled:
            row = self.rows[one.delivery.id]
            assert (row.status, row.sender_id) == (DeliveryStatus.SENDING, sender_id), "settled and not held"
            row.status, row.sender_id, row.waits = one.status, None, one.status is DeliveryStatus.PENDING
            row.due_at = time.monotonic() + one.retry_in.total_seconds()
            row.delivery = replace(row.delivery, attempts=row.delivery.attempts + one.counts)
        self.settled += settled
        if settled:
            self.transactions.append([one.delivery.id for one in settled])

    async def note_pause(self, sender_id: WorkerId, channel: str, pause: ChannelPause | None) -> None:
        self.pauses.append(pause)

    async def release_held(self, sender_id: WorkerId) -> int:
        self.released += 1
        for row in self.rows.values():
            if row.status is DeliveryStatus.SENDING:
                self._give_back(row)
        return 0

    def _give_back(self, row: Row) -> None:
        assert row.status is DeliveryStatus.SENDING
        row.status, row.sender_id = DeliveryStatus.PENDING, None

    @property
    def statuses(self) -> dict[int, DeliveryStatus]:
        return {number: row.status for number, row in self.rows.items()}

    def are_all(self, status: DeliveryStatus) -> bool:
        return set(self.statuses.values()) <= {status}


class FakeChannel:
    """Accepts everything but deliveries for which it has errors: the next one of a list, or the same for ever.

    None for an error: no answer ever. ``takes``: how long a send is under way.
    """

    def __init__(
        self,
        errors: Mapping[int, Exception | list[Exception | None] | None] | None = None,
        *,
        is_idempotent: bool = False,
        disturbs: bool = True,
        reach: Reach = Reach.SHARED,
        limits: ChannelLimits = UNLIMITED,
        takes: float = 0.0,
    ) -> None:
        self.name = "phone"
        self.is_idempotent = is_idempotent
        self.disturbs = disturbs
        self.reach = reach
        self.form = TextForm.PLAIN
        self.limits = limits
        self.errors = errors or {}
        self.takes = takes
        self.letters: list[Letter] = []
        self.sent: list[tuple[int, ...]] = []
        self.at: list[float] = []
        self.under_way = 0
        self.most_under_way = 0
        self.is_closed = False

    @property
    def tried(self) -> list[int]:
        """All that was tried, in that order."""
        return [number for letter in self.letters for number in numbers_of(letter)]

    async def send(self, letter: Letter) -> str | None:
        assert not self.is_closed
        self.letters.append(letter)
        self.at.append(asyncio.get_running_loop().time())
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            await asyncio.sleep(self.takes)
            await self._answer(numbers_of(letter)[0])
        finally:
            self.under_way -= 1
        self.sent.append(numbers_of(letter))
        return f"id-{numbers_of(letter)[0]}"

    async def _answer(self, number: int) -> None:
        if number not in self.errors:
            return
        error = self.errors[number]
        if isinstance(error, list):
            if not error:
                return
            error = error.pop(0)
        if error is not None:
            raise error
        await asyncio.Event().wait()

    async def close(self) -> None:
        assert not self.under_way
        self.is_closed = True


class MemoryAddresses:
    """Users have the addresses that were given, else one of their own."""

    def __init__(self, addresses: Mapping[int, str] | None = None) -> None:
        self.addresses = dict(addresses or {})

    async def recipients(self, channel: str, user_ids: Collection[int]) -> Mapping[int, Recipient]:
        await asyncio.sleep(0)
        return {user: Recipient(user, self.addresses.get(user, f"chat-{user}")) for user in user_ids}

    async def moved(self, channel: str, recipient: Recipient, address: str) -> None:
        self.addresses[recipient.user_id] = address


class FakeLeases:
    """Leases that live as long as ``alive`` says."""

    def __init__(self) -> None:
        self.alive = True
        self.names: list[WorkerId] = []
        self.removed: list[WorkerId] = []

    async def register(self, holder: Holder, lease: timedelta) -> None:
        self.names.append(holder.worker_id)

    async def renew(self, worker_id: WorkerId, lease: timedelta) -> bool:
        return self.alive

    async def remove(self, worker_id: WorkerId) -> None:
        self.removed.append(worker_id)


class PollingWaiter:
    """Wakes when it is told to, or when the time is over, which is simulated."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self.waits = 0

    def wake(self) -> None:
        self._woken.set()

    async def wait(self, seconds: float) -> bool:
        self.waits += 1
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True


@dataclass
class Sending:
    """A sender at work, and what it works with."""

    task: asyncio.Task[None]
    waiter: PollingWaiter
    leases: FakeLeases
    desk: Desk

    async def stop(self) -> None:
        """End it as a process ends it."""
        self.task.cancel()
        await asyncio.wait({self.task})
        if not self.task.cancelled():
            self.task.result()


@asynccontextmanager
async def sending(
    outbox: MemoryOutbox,
    channel: FakeChannel,
    *,
    policy: DeliveryPolicy | None = None,
    addresses: MemoryAddresses | None = None,
    lease: timedelta = timedelta(hours=1),
) -> AsyncIterator[Sending]:
    """Let a sender work; it waits as shortly as may be."""
    waiter, leases = PollingWaiter(), FakeLeases()
    outbox.on_change = waiter.wake
    desk = Desk(outbox, addresses or MemoryAddresses(), PlainWriter())
    sender = ChannelSender(
        channel,
        desk,
        Lease(leases, name="n", types=["channel:phone"], length=lease),
        waiter,
        policy=policy or DeliveryPolicy(),
        progress=Progress(),
        jitter=lambda: 0.0,
    )
    made = Sending(asyncio.create_task(sender.run()), waiter, leases, desk)
    try:
        yield made
    finally:
        await made.stop()
