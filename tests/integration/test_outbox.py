"""The outbox: messages stored once, deliveries claimed with a lease and settled by their holder only."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from atf.errors import InvariantViolation, PermanentFailure, UnstorableData
from atf.jobs.run import WorkerId
from atf.notifications.history import DeliveryFilter
from atf.notifications.message import Delivery, DeliveryStatus, OutgoingMessage, Priority
from atf.notifications.outbox import Settled
from atf.storage.database import Database
from atf.storage.deliveries_repository import PostgresDeliveries
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.workers_repository import PostgresLeases

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

INBOX = ("inbox",)
BOTH = ("console", "inbox")


@pytest.fixture
def outbox(database: Database) -> PostgresOutbox:
    return PostgresOutbox(database)


@pytest.fixture
async def sender(outbox: PostgresOutbox, rows: Rows) -> WorkerId:
    """Who sends on channel inbox."""
    return await sender_of(outbox, rows, "sender", "inbox")


async def sender_of(outbox: PostgresOutbox, rows: Rows, name: str, channel: str) -> WorkerId:
    made = await rows.worker(name)
    assert await outbox.take_channel(made, channel) is True
    return made


def a_message(key: str = "key", *, channels: tuple[str, ...] = INBOX, **changes: Any) -> OutgoingMessage:
    return OutgoingMessage(1, "alert", "Title", f"Body of {key}", key, channels, **changes)


async def stored(rows: Rows) -> tuple[int, int]:
    """How many messages and deliveries there are."""
    return (
        await rows.value("SELECT count(*) FROM msg_messages"),
        await rows.value("SELECT count(*) FROM msg_deliveries"),
    )


async def test_a_message_has_a_delivery_for_each_channel(outbox: PostgresOutbox, rows: Rows) -> None:
    assert await outbox.add([a_message("a", channels=BOTH), a_message("b")]) == 2
    keys = await rows.column("SELECT dedup_key FROM msg_deliveries ORDER BY id")
    assert keys == ["a:console", "a:inbox", "b:inbox"]


async def test_a_key_that_is_stored_already_is_left_alone(outbox: PostgresOutbox, rows: Rows) -> None:
    await outbox.add([a_message("a")])
    changed = OutgoingMessage(1, "alert", "Other", "Other", "a", BOTH)
    assert await outbox.add([changed, a_message("b")]) == 1
    assert await rows.column("SELECT title FROM msg_messages ORDER BY id") == ["Title", "Title"]
    assert await stored(rows) == (2, 2)


async def test_the_same_message_twice_in_one_call_is_stored_once(outbox: PostgresOutbox, rows: Rows) -> None:
    assert await outbox.add([a_message("a", channels=BOTH)] * 3) == 1
    assert await stored(rows) == (1, 2)


async def test_the_same_message_from_many_at_once_is_stored_once(outbox: PostgresOutbox, rows: Rows) -> None:
    added = await asyncio.gather(*(outbox.add([a_message("a", channels=BOTH)]) for _ in range(8)))
    assert sorted(added) == [0] * 7 + [1]
    assert await stored(rows) == (1, 2)


async def test_of_what_the_database_refuses_nothing_is_stored(outbox: PostgresOutbox, rows: Rows) -> None:
    assert await outbox.add([]) == 0
    with pytest.raises(UnstorableData):
        await outbox.add([a_message("a"), a_message("nul \0 byte")])
    with pytest.raises(InvariantViolation) as refusal:
        await outbox.add([a_message("a"), OutgoingMessage(99, "alert", "t", "b", "nobody", INBOX)])
    assert "Body of a" not in f"{refusal.value} {refusal.value.__cause__}", "nor is it told to the log"
    assert await stored(rows) == (0, 0)


async def test_a_claimed_delivery_carries_all_that_is_sent(outbox: PostgresOutbox, sender: WorkerId) -> None:
    await outbox.add([a_message("a", payload={"n": [1, None]}, priority=Priority.HIGH)])
    (delivery,) = await outbox.claim(sender, "inbox", 10)
    assert (delivery.user_id, delivery.channel, delivery.attempts) == (1, "inbox", 0)
    assert (delivery.title, delivery.body, delivery.dedup_key) == ("Title", "Body of a", "a:inbox")
    assert (delivery.notification_type, delivery.payload) == ("alert", {"n": [1, None]})
    assert (delivery.priority, delivery.lane, delivery.has_attachments) == (Priority.HIGH, "", False)


async def test_deliveries_are_claimed_in_the_order_of_their_messages(
    outbox: PostgresOutbox, sender: WorkerId
) -> None:
    await outbox.add([a_message(f"{n:03}") for n in range(200)])
    claimed = [delivery.body for delivery in await outbox.claim(sender, "inbox", 200)]
    assert claimed == sorted(claimed)


async def test_only_a_live_lease_claims_and_only_its_channels(
    outbox: PostgresOutbox, rows: Rows, sender: WorkerId
) -> None:
    await outbox.add([a_message("a", channels=BOTH), a_message("b")])
    assert await outbox.take_channel(WorkerId("nobody"), "console") is False
    assert await outbox.claim(WorkerId("nobody"), "inbox", 10) == []
    assert await outbox.claim(sender, "console", 10) == []
    assert [delivery.channel for delivery in await outbox.claim(sender, "inbox", 1)] == ["inbox"]
    await rows.expire(sender)
    assert await outbox.claim(sender, "inbox", 10) == []


async def test_of_four_senders_one_gets_the_channel_and_each_delivery_once(
    outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message(f"{n}") for n in range(1_000)])
    senders = [await rows.worker(f"sender-{n}") for n in range(4)]
    taken = await asyncio.gather(*(outbox.take_channel(name, "inbox") for name in senders))
    assert sorted(map(bool, taken)) == [False, False, False, True]

    async def drain(name: WorkerId) -> list[int]:
        taken: list[int] = []
        while claimed := await outbox.claim(name, "inbox", 25):
            taken += [delivery.id for delivery in claimed]
        return taken

    shares = await asyncio.gather(*(drain(name) for name in senders))
    assert sorted(map(len, shares)) == [0, 0, 0, 1_000]
    everything = [delivery_id for share in shares for delivery_id in share]
    assert len(everything) == len(set(everything)) == 1_000


async def test_a_settled_delivery_tells_how_it_ended(
    outbox: PostgresOutbox, rows: Rows, sender: WorkerId
) -> None:
    await outbox.add([a_message(f"{n}") for n in range(4)])
    claimed = await outbox.claim(sender, "inbox", 10)
    endings = [DeliveryStatus.SENT, DeliveryStatus.FAILED, DeliveryStatus.DEAD, DeliveryStatus.PENDING]
    await outbox.settle(
        sender,
        [
            Settled(claimed[0], endings[0], provider_message_id="p-1"),
            Settled(claimed[1], endings[1], error="refused"),
            Settled(claimed[2], endings[2], error="no answer"),
            Settled(claimed[3], endings[3], error="busy", retry_in=timedelta(hours=1)),
        ],
    )
    ended = await rows.all(
        "SELECT status, provider_message_id, error, sent_at IS NOT NULL, settled_at IS NOT NULL, attempts, waits "
        "FROM msg_deliveries WHERE sender_id IS NULL ORDER BY id"
    )
    assert [tuple(row) for row in ended] == [
        ("SENT", "p-1", None, True, True, 1, False),
        ("FAILED", None, "refused", False, True, 1, False),
        ("DEAD", None, "no answer", False, True, 1, False),
        ("PENDING", None, "busy", False, False, 1, True),
    ]
    assert await outbox.claim(sender, "inbox", 10) == [], "the one to try again waits for its time"
    await rows.change("UPDATE msg_deliveries SET next_attempt_at = now()")
    assert [delivery.attempts for delivery in await outbox.claim(sender, "inbox", 10)] == [1]


async def test_no_text_from_outside_keeps_a_delivery_from_being_settled(
    outbox: PostgresOutbox, rows: Rows, sender: WorkerId
) -> None:
    await outbox.add([a_message("a")])
    (delivery,) = await outbox.claim(sender, "inbox", 10)
    strange = "a\0b\ud800"
    await outbox.settle(sender, [Settled(delivery, DeliveryStatus.SENT, strange, strange)])
    (row,) = await rows.all("SELECT status, provider_message_id, error FROM msg_deliveries")
    assert tuple(row) == ("SENT", "ab?", "ab?")


async def test_what_was_taken_away_is_not_settled_by_its_former_sender(
    database: Database, outbox: PostgresOutbox, rows: Rows, sender: WorkerId
) -> None:
    await outbox.add([a_message("a")])
    (late,) = await outbox.claim(sender, "inbox", 10)
    await rows.expire(sender)
    await PostgresLeases(database).rescue()
    second = await sender_of(outbox, rows, "second", "inbox")
    (mine,) = await outbox.claim(second, "inbox", 10)
    before = await rows.all("SELECT * FROM msg_deliveries")
    await outbox.settle(sender, [Settled(late, DeliveryStatus.FAILED, error="late")])
    assert await outbox.release_held(sender) == 0
    assert await rows.all("SELECT * FROM msg_deliveries") == before
    await outbox.settle(second, [Settled(mine, DeliveryStatus.SENT)])
    await outbox.settle(second, [Settled(mine, DeliveryStatus.FAILED, error="twice")])
    assert await rows.column("SELECT status FROM msg_deliveries") == ["SENT"]


async def test_release_gives_back_what_is_held(outbox: PostgresOutbox, rows: Rows, sender: WorkerId) -> None:
    await outbox.add([a_message("a"), a_message("b")])
    (first, _) = await outbox.claim(sender, "inbox", 10)
    await outbox.settle(sender, [Settled(first, DeliveryStatus.SENT)])
    assert await outbox.release_held(sender) == 1
    assert sorted(await rows.column("SELECT status FROM msg_deliveries")) == ["PENDING", "SENT"]


async def test_the_inbox_shows_a_delivery_once_however_often_it_is_sent(
    outbox: PostgresOutbox, rows: Rows, sender: WorkerId
) -> None:
    await outbox.add([a_message("a"), a_message("b")])
    deliveries: list[Delivery] = list(await outbox.claim(sender, "inbox", 10)) * 2
    await asyncio.gather(*(outbox.put_in_inbox(one.user_id, one.dedup_key) for one in deliveries))
    inbox = await rows.all("SELECT user_id, dedup_key, read_at FROM msg_inbox ORDER BY dedup_key")
    assert [tuple(row) for row in inbox] == [(1, "a:inbox", None), (1, "b:inbox", None)]


@pytest.mark.parametrize(("user_id", "key"), [(2, "a:inbox"), (1, "b:inbox")])
async def test_only_its_own_user_is_shown_a_delivery(
    outbox: PostgresOutbox, rows: Rows, user_id: int, key: str
) -> None:
    await outbox.add([a_message("a")])
    with pytest.raises(PermanentFailure, match="has no delivery"):
        await outbox.put_in_inbox(user_id, key)
    assert await rows.value("SELECT count(*) FROM msg_inbox") == 0


async def test_a_user_lists_own_deliveries_newest_first(
    database: Database, outbox: PostgresOutbox, rows: Rows, sender: WorkerId
) -> None:
    deliveries = PostgresDeliveries(database)
    await rows.change("INSERT INTO users (name, role) VALUES ('second', 'viewer')")
    await outbox.add([a_message("a", channels=BOTH, priority=Priority.URGENT), a_message("b")])
    await outbox.add([OutgoingMessage(2, "alert", "t", "b", "theirs", INBOX)])
    (sent,) = await outbox.claim(sender, "inbox", 1)
    await outbox.settle(sender, [Settled(sent, DeliveryStatus.SENT)])

    async def keys(**wanted: Any) -> list[str]:
        return [record.dedup_key for record in await deliveries.list_deliveries(DeliveryFilter(1, **wanted))]

    assert await keys() == ["b:inbox", "a:inbox", "a:console"]
    assert await keys(limit=1) == ["b:inbox"]
    assert await keys(channel="inbox") == ["b:inbox", "a:inbox"]
    assert await keys(status=DeliveryStatus.SENT) == ["a:inbox"]
    assert await keys(status=DeliveryStatus.DEAD) == []
    (record,) = await deliveries.list_deliveries(DeliveryFilter(1, DeliveryStatus.SENT))
    assert (record.priority, record.status, record.attempts) == (Priority.URGENT, DeliveryStatus.SENT, 1)
    assert record.sent_at is not None
