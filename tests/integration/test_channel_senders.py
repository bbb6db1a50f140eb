"""Senders of one channel on a real outbox: one at a time, in order, urgent first, and patient with outages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.sending import Waiter, deliver, running, sender_on, started

from atf.errors import TemporaryFailure
from atf.jobs.run import WorkerId
from atf.notifications.channel import (
    ChannelLimits,
    ChannelThrottled,
    ChannelUnavailable,
    Letter,
    Reach,
    RecipientThrottled,
)
from atf.notifications.letter_sender import DeliveryPolicy
from atf.notifications.message import DeliveryStatus, OutgoingMessage, Priority
from atf.notifications.outbox import ChannelPause, Settled
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.workers_repository import PostgresLeases
from atf.testing.inbox import InMemoryInbox

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows

URGENT, HIGH, NORMAL = Priority.URGENT, Priority.HIGH, Priority.NORMAL
CHANNELS = "SELECT failures, error, paused_until > now() AS is_paused, paused_until FROM msg_channels"


def a_message(body: object, user_id: int = 1, **changes: Any) -> OutgoingMessage:
    return OutgoingMessage(user_id, "note", "Title", str(body), f"{user_id}:{body}", ("phone",), **changes)


def numbered(first: int, last: int, user_id: int = 1, **changes: Any) -> list[OutgoingMessage]:
    return [a_message(number, user_id, **changes) for number in range(first, last + 1)]


def texts(letters: Sequence[Letter]) -> list[str]:
    return [letter.text for letter in letters]


class HookedInbox(InMemoryInbox):
    """Does something before it accepts the letter with a certain text."""

    def __init__(self, hooks: dict[str, Callable[[], Any]], **given: Any) -> None:
        super().__init__("phone", **given)
        self.hooks = hooks
        self.tried: list[str] = []

    async def send(self, letter: Letter) -> str | None:
        self.tried.append(letter.text)
        if letter.text in self.hooks:
            await self.hooks[letter.text]()
        return await super().send(letter)


@pytest.fixture
def outbox(database: Database) -> PostgresOutbox:
    return PostgresOutbox(database)


@pytest.fixture
async def users(rows: Rows) -> None:
    """Users 2 to 9 beside the owner."""
    await rows.change("INSERT INTO users (name, role) SELECT 'user-' || n, 'viewer' FROM generate_series(2, 9) n")


async def sent(rows: Rows) -> int:
    return int(await rows.value("SELECT count(*) FROM msg_deliveries WHERE status = 'SENT'"))


# --- one sender a channel ---


async def test_the_other_sender_takes_over_when_the_first_one_s_lease_is_over_and_nothing_is_sent_by_both(
    database: Database, outbox: PostgresOutbox, rows: Rows, eventually: Eventually
) -> None:
    await outbox.add(numbered(1, 6))
    hangs = asyncio.Event()
    first, second = HookedInbox({"4": hangs.wait}), InMemoryInbox("phone")
    waiters = Waiter(), Waiter()
    slow = sender_on(database, first, waiters[0], lease=timedelta(seconds=1))
    async with started(slow, waiters[0]):
        await eventually(lambda: _is(first.tried, "4"))
        async with running(sender_on(database, second, waiters[1]), waiters[1]):
            assert second.received == [], "the channel is the first one's"
            await rows.expire(await rows.value("SELECT sender_id FROM msg_channels"))
            await waiters[1].look()
            assert texts(second.received) == ["4", "5", "6"]
            await waiters[0].is_idle()
            hangs.set()
            await outbox.add(numbered(7, 8))
            await waiters[0].look()
            await waiters[1].look()
    assert (texts(first.received), texts(second.received)) == (["1", "2", "3"], ["4", "5", "6", "7", "8"])
    assert await rows.column("SELECT DISTINCT attempts FROM msg_deliveries") == [1]


async def _is(tried: list[str], last: str) -> bool:
    return tried[-1:] == [last]


@pytest.mark.parametrize("is_rescued", [True, False])
async def test_what_a_dead_sender_held_is_sent_first_and_in_order(
    database: Database, outbox: PostgresOutbox, rows: Rows, is_rescued: bool
) -> None:
    await outbox.add(numbered(1, 30))
    dead = await rows.worker("dead")
    assert await outbox.take_channel(dead, "phone") is True
    assert len(await outbox.claim(dead, "phone", 10, disturbs=True)) == 10
    await rows.expire(dead)
    if is_rescued:
        assert (await PostgresLeases(database).rescue()).deliveries_requeued == 10
    phone, waiter = InMemoryInbox("phone"), Waiter()
    async with running(sender_on(database, phone, waiter, policy=DeliveryPolicy(batch_size=4)), waiter):
        assert texts(phone.received) == [str(number) for number in range(1, 31)]


async def test_a_channel_is_taken_only_by_who_lives_and_from_who_does_not(
    outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message(1)])
    one, other = await rows.worker("one"), await rows.worker("other")
    assert await outbox.take_channel(WorkerId("nobody"), "phone") is False
    assert await outbox.take_channel(one, "phone") is True
    assert await outbox.take_channel(one, "phone") is True
    assert await outbox.take_channel(other, "phone") is False
    assert await outbox.take_channel(other, "mail") is True
    assert await outbox.claim(other, "phone", 10, disturbs=True) == []
    (held,) = await outbox.claim(one, "phone", 10, disturbs=True)
    await rows.expire(one)
    assert await outbox.take_channel(other, "phone") is True
    (taken,) = await outbox.claim(other, "phone", 10, disturbs=True)
    assert taken == held
    await outbox.settle(one, [Settled(held, DeliveryStatus.SENT)], [held.id])
    assert await rows.column("SELECT sender_id FROM msg_deliveries") == ["other"]
    assert await outbox.release_held(other) == 1
    assert await rows.column("SELECT sender_id FROM msg_channels") == [None, None]


async def test_many_senders_that_want_a_channel_at_once_do_not_stand_in_each_other_s_way(
    outbox: PostgresOutbox, rows: Rows
) -> None:
    names = [await rows.worker(f"w{n}") for n in range(8)]
    taken = await asyncio.gather(*(outbox.take_channel(name, "phone") for name in names))
    assert sorted(map(bool, taken)) == [False] * 7 + [True]


# --- order ---


@pytest.mark.usefixtures("users")
async def test_one_that_waits_for_another_try_holds_up_its_own_line_only(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    other_lane = OutgoingMessage(
        1, "alert_action", "T", "action", "k", ("phone",), payload={"url": "https://example.org"}
    )
    await outbox.add([a_message("first"), a_message("second")])
    sender = await rows.worker("sender")
    await outbox.take_channel(sender, "phone")
    first, second = await outbox.claim(sender, "phone", 10, disturbs=True)
    later = Settled(first, DeliveryStatus.PENDING, error="busy", retry_in=timedelta(hours=1))
    await outbox.settle(sender, [later], [second.id])
    await outbox.release_held(sender)
    await rows.expire(sender)
    await outbox.add([a_message("third"), a_message("high", priority=HIGH), a_message("other's", 2), other_lane])
    phone = InMemoryInbox("phone")
    await deliver(database, phone)
    assert sorted(texts(phone.received)) == ["action", "high", "other's"]
    await rows.change("UPDATE msg_deliveries SET next_attempt_at = now() WHERE waits")
    phone.received.clear()
    async with running(sender_on(database, phone, waiter := Waiter()), waiter):
        await waiter.look()
        assert texts(phone.received) == ["first", "second", "third"]


async def test_those_that_were_one_letter_are_tried_again_together(outbox: PostgresOutbox, rows: Rows) -> None:
    await outbox.add(numbered(1, 5))
    sender = await rows.worker("sender")
    await outbox.take_channel(sender, "phone")
    claimed = await outbox.claim(sender, "phone", 10, disturbs=True)
    digest, behind = claimed[:3], claimed[3:]
    error = RecipientThrottled("429")
    await outbox.settle(
        sender,
        [Settled(one, DeliveryStatus.PENDING, error=str(error), counts=False) for one in digest],
        [one.id for one in behind],
    )
    again = await outbox.claim(sender, "phone", 10, disturbs=True)
    assert [one.body for one in again] == ["1", "2", "3"]
    await outbox.settle(sender, [Settled(one, DeliveryStatus.SENT) for one in again])
    assert [one.body for one in await outbox.claim(sender, "phone", 10, disturbs=True)] == ["4", "5"]


@pytest.mark.usefixtures("users")
async def test_urgent_goes_before_high_and_high_before_normal_also_where_thousands_wait(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message(n, n % 9 + 1) for n in range(2_000)])
    await outbox.add([a_message(f"high {n}", n % 9 + 1, priority=HIGH) for n in range(300)])
    await outbox.add([a_message(f"urgent {n}", n % 9 + 1, priority=URGENT) for n in range(200)])
    phone = InMemoryInbox("phone", is_idempotent=True, limits=ChannelLimits(concurrency=16))
    async with running(sender_on(database, phone, waiter := Waiter()), waiter):
        pass
    order = texts(phone.received)
    assert len(set(order)) == 2_500
    assert all(text.startswith("urgent") for text in order[:200])
    assert all(text.startswith("high") for text in order[200:500])
    for user_id in range(1, 10):
        own = [int(one.text) for one in phone.received[500:] if one.recipient.user_id == user_id]
        assert own == sorted(own)


async def test_an_urgent_one_gets_past_its_own_user_s_backlog(database: Database, outbox: PostgresOutbox) -> None:
    """Of whom enough is held nothing more is claimed, but for what is more urgent."""

    async def cry() -> None:
        await outbox.add([a_message("urgent", priority=URGENT)])
        waiter.wake()

    await outbox.add(numbered(1, 120))
    phone, waiter = HookedInbox({"10": cry}), Waiter()
    policy = DeliveryPolicy(batch_size=100, poll=timedelta(milliseconds=10))
    async with running(sender_on(database, phone, waiter, policy=policy), waiter):
        assert texts(phone.received).index("urgent") < 40
        assert len(phone.received) == 121


@pytest.mark.usefixtures("users")
async def test_a_backlog_of_one_user_leaves_room_for_others(database: Database, outbox: PostgresOutbox) -> None:
    await outbox.add(numbered(1, 400))
    await outbox.add([a_message("other's", 2)])
    phone = InMemoryInbox("phone", limits=ChannelLimits(concurrency=4, per_recipient_second=50.0))
    policy = DeliveryPolicy(batch_size=5, poll=timedelta(milliseconds=10))
    async with started(sender_on(database, phone, waiter := Waiter(), policy=policy), waiter):
        async with asyncio.timeout(60):
            while "other's" not in texts(phone.received):  # noqa: ASYNC110 - a channel has no event for it
                await asyncio.sleep(0.005)
        assert len(phone.received) < 100


# --- outages ---


class Outage(InMemoryInbox):
    """A provider that is away as long as it is said to be."""

    def __init__(self, error: TemporaryFailure) -> None:
        super().__init__("phone", limits=ChannelLimits(concurrency=4))
        self.error: TemporaryFailure | None = error
        self.tried: list[str] = []
        self.under_way = self.most_under_way = 0

    async def send(self, letter: Letter) -> str | None:
        self.tried.append(letter.text)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.001)
        self.under_way -= 1
        if self.error is not None:
            raise self.error
        return await super().send(letter)


@pytest.mark.usefixtures("users")
async def test_an_outage_is_noted_survives_its_sender_uses_up_nothing_and_ends_with_one_probe(
    database: Database, outbox: PostgresOutbox, rows: Rows, eventually: Eventually
) -> None:
    await outbox.add([a_message(n, n) for n in range(1, 10)])
    away = Outage(ChannelUnavailable("the provider is away", retry_after_seconds=3600.0))
    async with running(sender_on(database, away, waiter := Waiter()), waiter):
        assert len(away.tried) == 4
        await waiter.look()
        assert len(away.tried) == 4, "it is left alone"
        (noted,) = await rows.all(CHANNELS)
        assert (noted.failures, noted.error, noted.is_paused) == (1, "the provider is away", True)
        found = await rows.all("SELECT DISTINCT status, attempts, sender_id FROM msg_deliveries")
        assert [tuple(row) for row in found] == [("PENDING", 0, None)]
    back = Outage(ChannelUnavailable("never raised"))
    back.error = None
    async with running(sender_on(database, back, waiter := Waiter()), waiter):
        assert back.tried == [], "the next sender goes on with the pause"
    await rows.change("UPDATE msg_channels SET paused_until = now()")
    async with running(sender_on(database, back, waiter := Waiter()), waiter):
        assert await sent(rows) == 9
    assert len(back.tried) == 9
    (noted,) = await rows.all(CHANNELS)
    assert (noted.failures, noted.error, noted.paused_until) == (0, None, None)
    assert await rows.column("SELECT DISTINCT attempts FROM msg_deliveries") == [1]


async def test_a_pause_that_a_channel_asked_for_survives_its_sender_and_is_no_outage(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message(1)])
    busy = Outage(ChannelThrottled("429", retry_after_seconds=600.0))
    async with running(sender_on(database, busy, waiter := Waiter()), waiter):
        (noted,) = await rows.all(CHANNELS)
        assert (noted.failures, noted.is_paused) == (0, True)
    async with running(sender_on(database, busy, waiter := Waiter()), waiter):
        assert len(busy.tried) == 1
    found = await rows.all("SELECT status, attempts, error FROM msg_deliveries")
    assert [tuple(row) for row in found] == [("PENDING", 0, "429")]


async def test_only_the_channel_s_sender_says_that_it_is_paused(outbox: PostgresOutbox, rows: Rows) -> None:
    sender, other = await rows.worker("sender"), await rows.worker("other")
    assert await outbox.take_channel(sender, "phone") is True
    pause = ChannelPause(2, timedelta(minutes=1), "gone")
    await outbox.note_pause(other, "phone", pause)
    assert (await rows.all(CHANNELS))[0].failures == 0
    await outbox.note_pause(sender, "phone", pause)
    await outbox.release_held(sender)
    taken = await outbox.take_channel(other, "phone")
    assert isinstance(taken, ChannelPause)
    assert (taken.failures, taken.error) == (2, "gone")
    assert timedelta(seconds=50) < taken.remaining <= timedelta(minutes=1)
    assert await outbox.take_channel(other, "phone") is True
    await outbox.note_pause(other, "phone", None)
    (noted,) = await rows.all(CHANNELS)
    assert (noted.failures, noted.error, noted.paused_until) == (0, None, None)


@pytest.mark.usefixtures("users")
async def test_where_each_recipient_is_a_machine_of_its_own_one_that_hangs_uses_up_its_own_tries(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message("hangs"), a_message("behind"), a_message("other's", 2)])
    hook = HookedInbox({"hangs": asyncio.Event().wait}, reach=Reach.EACH, limits=ChannelLimits(concurrency=2))
    policy = DeliveryPolicy(timeout=timedelta(milliseconds=50))
    async with running(sender_on(database, hook, waiter := Waiter(), policy=policy), waiter):
        assert texts(hook.received) == ["other's"]
    found = await rows.all("SELECT status, attempts, error, waits FROM msg_deliveries ORDER BY id")
    assert [tuple(row) for row in found] == [
        ("PENDING", 1, "no answer within 0.05 s", True),
        ("PENDING", 0, None, False),
        ("SENT", 1, None, False),
    ]
