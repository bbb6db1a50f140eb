"""The message pruner on a real database: what it takes away, what it leaves alone, and two of it at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from atf.notifications.message_pruner import MessagePruner
from atf.storage.database import Database
from atf.storage.retention import PostgresRetention
from atf.testing.clocks import FakeClock

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
KEYS = "SELECT dedup_key FROM msg_messages ORDER BY id"


def pruner(database: Database) -> MessagePruner:
    return MessagePruner(PostgresRetention(database), FakeClock(NOON), 90 * DAY)


async def a_message(rows: Rows, key: str, *statuses: str, age: timedelta = 91 * DAY) -> None:
    """A message with a file, an entry in the inbox, and a delivery of each status."""
    message_id = await rows.value(
        "INSERT INTO msg_messages (user_id, notification_type, title, body, dedup_key, created_at) "
        "VALUES (1, 'note', 'Title', 'Body', :key, :at) RETURNING id",
        key=key,
        at=NOON - age,
    )
    await rows.change(
        "INSERT INTO msg_attachments (message_id, position, name, media_type, content) "
        "VALUES (:id, 0, 'a.txt', 'text/plain', 'abc')",
        id=message_id,
    )
    await rows.change(
        "INSERT INTO msg_inbox (user_id, message_id, dedup_key) VALUES (1, :id, :key)", id=message_id, key=key
    )
    for number, status in enumerate(statuses):
        await rows.change(
            "INSERT INTO msg_deliveries (message_id, user_id, urgency, channel, dedup_key, status) "
            "VALUES (:id, 1, 2, :channel, :key, :status)",
            id=message_id,
            channel=f"c{number}",
            key=f"{key}:{number}",
            status=status,
        )


async def test_what_is_old_goes_with_all_that_belongs_to_it_and_what_waits_or_is_young_stays(
    database: Database, rows: Rows
) -> None:
    await a_message(rows, "sent", "SENT", "FAILED", "DEAD")
    await a_message(rows, "waits", "SENT", "PENDING")
    await a_message(rows, "on its way", "SENDING", age=400 * DAY)
    await a_message(rows, "to nobody")
    await a_message(rows, "just too old", "SENT", age=90 * DAY + MOMENT)
    await a_message(rows, "just kept", "SENT", age=90 * DAY)
    await a_message(rows, "young", "DEAD", age=DAY)
    assert await pruner(database).run_once() == 3
    kept = ["waits", "on its way", "just kept", "young"]
    assert await rows.column(KEYS) == kept
    assert await rows.column("SELECT dedup_key FROM msg_inbox ORDER BY message_id") == kept
    assert await rows.column("SELECT dedup_key FROM msg_deliveries ORDER BY message_id, id") == [
        "waits:0",
        "waits:1",
        "on its way:0",
        "just kept:0",
        "young:0",
    ]
    assert await rows.value("SELECT count(*) FROM msg_attachments") == len(kept)
    await rows.change("UPDATE msg_deliveries SET status = 'SENT'")
    assert await pruner(database).run_once() == 2, "what waited goes once it has gone out"
    assert await rows.column(KEYS) == ["just kept", "young"]


async def old_messages(rows: Rows, count: int) -> None:
    await rows.change(
        "INSERT INTO msg_messages (user_id, notification_type, title, body, dedup_key, created_at) "
        "SELECT 1, 'note', 'Title', 'Body', n, :at FROM generate_series(1, :count) n",
        at=NOON - 91 * DAY,
        count=count,
    )


async def test_many_go_in_more_than_one_batch_and_two_pruners_share_what_there_is(
    database: Database, rows: Rows
) -> None:
    await a_message(rows, "young", "SENT", age=DAY)
    await old_messages(rows, 10_001)
    assert await pruner(database).run_once() == 10_001
    await old_messages(rows, 500)
    counts = await asyncio.gather(pruner(database).run_once(), pruner(database).run_once())
    assert sum(counts) == 500
    assert await rows.column(KEYS) == ["young"]
