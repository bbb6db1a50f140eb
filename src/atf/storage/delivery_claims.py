"""Who sends on a channel, and which deliveries are due there, as SQL.

``:now_at`` is null, and the database's clock counts, which all senders share; a test may have a clock of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.jobs.run import WorkerId
from atf.notifications.lanes import AGEING_SECONDS
from atf.notifications.message import Attachment, Delivery, Priority
from atf.notifications.outbox import ChannelPause
from atf.notifications.sending_metrics import ChannelDepth
from atf.storage.holds import hold_back

_MAKE_CHANNEL: Final = text("INSERT INTO msg_channels (channel) VALUES (:channel) ON CONFLICT DO NOTHING")
_CHANNEL: Final = text(
    """
    SELECT c.sender_id IS NOT DISTINCT FROM :sender_id AS is_mine, c.failures, c.error,
           COALESCE(GREATEST(c.paused_until - now(), interval '0'), interval '0') AS remaining,
           EXISTS (SELECT FROM workers w WHERE w.worker_id = c.sender_id AND w.lease_expires_at > now())
             AS is_taken,
           EXISTS (SELECT FROM workers w WHERE w.worker_id = :sender_id AND w.lease_expires_at > now())
             AS is_alive
    FROM msg_channels c WHERE c.channel = :channel
    """
)
_LOCK_CHANNEL: Final = text("SELECT FROM msg_channels WHERE channel = :channel FOR UPDATE")
_TAKE_CHANNEL: Final = text(
    "UPDATE msg_channels SET sender_id = :sender_id, taken_at = now() WHERE channel = :channel"
)
# What a dead sender has left behind keeps its place. A live one that is not this channel's any more cannot be.
_TAKE_OVER: Final = text(
    """
    UPDATE msg_deliveries SET status = 'PENDING', sender_id = NULL
    WHERE channel = :channel AND status = 'SENDING' AND sender_id <> :sender_id
    """
)
_NOTE_PAUSE: Final = text(
    """
    UPDATE msg_channels
    SET failures = :failures, paused_until = now() + CAST(:remaining AS interval), error = :error
    WHERE channel = :channel AND sender_id = :sender_id
    """
)

_NOW: Final = "COALESCE(CAST(:now_at AS timestamptz), now())"
# Behind a delivery of its lane that waits for another try nothing is due, whenever that try comes; but those that
# were one letter are tried again together.
_DUE: Final = f"""
    (SELECT d.id, d.next_attempt_at, d.urgency FROM msg_deliveries d
     WHERE d.status = 'PENDING' AND d.channel = :channel AND d.urgency = {{urgency}}
       AND d.next_attempt_at <= {_NOW} AND d.user_id <> ALL(CAST(:crowded_{{urgency}} AS int[]))
       AND NOT EXISTS (
         SELECT FROM msg_deliveries e
         WHERE e.waits AND e.channel = d.channel AND e.user_id = d.user_id AND e.urgency = d.urgency
           AND e.lane = d.lane AND e.id < d.id AND NOT (d.waits AND e.next_attempt_at <= {_NOW}))
     ORDER BY d.next_attempt_at, d.id LIMIT :limit)"""
_CLAIM: Final = text(
    f"""
    WITH live AS (
        SELECT 1 FROM workers w JOIN msg_channels c ON c.sender_id = w.worker_id
        WHERE w.worker_id = :sender_id AND w.lease_expires_at > now() AND c.channel = :channel
        FOR KEY SHARE OF w, c),
    due AS MATERIALIZED (
        {_DUE.format(urgency=0)} UNION ALL {_DUE.format(urgency=1)} UNION ALL {_DUE.format(urgency=2)}),
    picked AS MATERIALIZED (
        SELECT id, held_until FROM msg_deliveries
        WHERE status = 'PENDING' AND EXISTS (SELECT FROM live) AND id = ANY(ARRAY(
            SELECT id FROM due
            ORDER BY urgency > 0, next_attempt_at + CASE WHEN urgency = 2 THEN CAST(:ageing AS interval)
                                                         ELSE interval '0' END, id
            LIMIT :limit))
        FOR UPDATE SKIP LOCKED),
    claimed AS (
        UPDATE msg_deliveries d SET status = 'SENDING', sender_id = :sender_id, held_until = NULL
        FROM picked p WHERE d.id = p.id
        RETURNING d.id, d.message_id, d.user_id, d.channel, d.attempts, d.dedup_key, d.lane, d.urgency,
                  d.next_attempt_at AS due_at, p.held_until IS NOT NULL AS was_held)
    SELECT c.*, m.notification_type, m.title, m.body, m.payload, m.created_at, m.priority, {_NOW} AS claimed_at,
           :disturbs AND c.urgency > 0
             AND (EXISTS (SELECT FROM msg_quiet_hours q WHERE q.user_id = c.user_id)
                  OR EXISTS (SELECT FROM msg_preferences p
                             WHERE p.user_id = c.user_id AND p.digest_minutes IS NOT NULL)) AS may_wait,
           EXISTS (SELECT FROM msg_attachments a WHERE a.message_id = c.message_id) AS has_attachments
    FROM claimed c JOIN msg_messages m ON m.id = c.message_id ORDER BY c.id
    """
)
_ATTACHMENTS: Final = text(
    """
    SELECT name, media_type, content FROM msg_attachments WHERE message_id = :message_id ORDER BY position
    """
)
_DEPTH: Final = text(
    """
    SELECT channel, count(*) AS pending,
           COALESCE(extract(epoch FROM now() - min(created_at) FILTER (WHERE next_attempt_at <= now())), 0)
             AS oldest_seconds
    FROM msg_deliveries WHERE status IN ('PENDING', 'SENDING') GROUP BY channel
    """
)
_COLUMNS: Final = frozenset(field.name for field in fields(Delivery)) - {"priority"}


async def take_channel(connection: AsyncConnection, sender_id: WorkerId, channel: str) -> ChannelPause | bool:
    """Become a channel's sender if no live one is; what the one before had is PENDING again."""
    values = {"sender_id": sender_id, "channel": channel}
    row = (await connection.execute(_CHANNEL, values)).first()
    if row is not None and row.is_mine:
        return True
    if row is not None and row.is_taken:
        return False
    await connection.execute(_MAKE_CHANNEL, {"channel": channel})
    await connection.execute(_LOCK_CHANNEL, {"channel": channel})
    row = (await connection.execute(_CHANNEL, values)).one()
    if (row.is_taken and not row.is_mine) or not row.is_alive:
        return False
    await connection.execute(_TAKE_CHANNEL, values)
    await connection.execute(_TAKE_OVER, values)
    is_paused = row.failures or row.remaining
    return ChannelPause(row.failures, row.remaining, row.error or "") if is_paused else True


async def note_pause(
    connection: AsyncConnection, sender_id: WorkerId, channel: str, pause: ChannelPause | None
) -> None:
    """Write a channel's pause into its row, or that there is none, if the sender is still the channel's."""
    values = {
        "sender_id": sender_id,
        "channel": channel,
        "failures": 0 if pause is None else pause.failures,
        "remaining": None if pause is None else pause.remaining,
        "error": None if pause is None else pause.error,
    }
    await connection.execute(_NOTE_PAUSE, values)


async def claim(
    connection: AsyncConnection,
    sender_id: WorkerId,
    channel: str,
    limit: int,
    *,
    disturbs: bool,
    crowded: Collection[tuple[int, int]],
    now: datetime | None,
) -> tuple[list[Delivery], bool]:
    """Take due deliveries and put back what is to wait; return what is left, and whether anything was due."""
    values = {
        "sender_id": sender_id,
        "channel": channel,
        "limit": limit,
        "disturbs": disturbs,
        **{f"crowded_{n}": [user for user, urgency in crowded if urgency == n] for n in range(3)},
        "now_at": now,
        "ageing": f"{AGEING_SECONDS} s",
    }
    rows = (await connection.execute(_CLAIM, values)).all()
    held = await hold_back(connection, [row for row in rows if row.may_wait])
    return [_delivery(row) for row in rows if row.id not in held], bool(rows)


async def attachments(connection: AsyncConnection, message_id: int) -> list[Attachment]:
    """Return a message's files, in their order."""
    rows = await connection.execute(_ATTACHMENTS, {"message_id": message_id})
    return [Attachment(row.name, row.media_type, bytes(row.content)) for row in rows]


async def depth(connection: AsyncConnection) -> Mapping[str, ChannelDepth]:
    """Return what waits, by channel."""
    rows = await connection.execute(_DEPTH)
    return {row.channel: ChannelDepth(row.pending, float(row.oldest_seconds)) for row in rows}


def _delivery(row: Row[Any]) -> Delivery:
    columns = {name: row._mapping[name] for name in _COLUMNS}
    return Delivery(**columns, priority=Priority(row.priority))
