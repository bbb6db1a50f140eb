"""The outbox and the inbox as SQL: stored in somebody's transaction, claimed with a lease, settled fenced.

``:now_at`` is null, and the database's clock counts, which all senders share; a test may have a clock of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.clock import Clock
from atf.jobs.run import WorkerId
from atf.notifications.background_service import Settled
from atf.notifications.failed_action import failure_message
from atf.notifications.message import (
    ACTION,
    Delivery,
    DeliveryRecord,
    DeliveryStatus,
    OutgoingMessage,
    Priority,
)
from atf.storage.database import Database
from atf.storage.quiet_hours_repository import hold_back
from atf.storage.stored_text import storable_text

_ADD: Final = text(
    """
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:user_ids AS int[]), CAST(:types AS text[]), CAST(:priorities AS text[]),
            CAST(:titles AS text[]), CAST(:bodies AS text[]), CAST(:payloads AS text[]), CAST(:keys AS text[])
        ) AS g(user_id, notification_type, priority, title, body, payload, dedup_key)),
    stored AS (
        INSERT INTO msg_messages (user_id, notification_type, priority, title, body, payload, dedup_key)
        SELECT user_id, notification_type, priority, title, body, CAST(payload AS jsonb), dedup_key FROM given
        ON CONFLICT (dedup_key) DO NOTHING RETURNING id, dedup_key),
    delivered AS (
        INSERT INTO msg_deliveries (message_id, channel, dedup_key, status, error)
        SELECT DISTINCT s.id, c.channel, c.delivery_key,
               CASE WHEN c.refusal IS NULL THEN 'PENDING' ELSE 'FAILED' END, c.refusal
        FROM stored s
        JOIN unnest(CAST(:delivery_of AS text[]), CAST(:channels AS text[]), CAST(:delivery_keys AS text[]),
                    CAST(:refusals AS text[]))
             AS c(dedup_key, channel, delivery_key, refusal) ON c.dedup_key = s.dedup_key
        ORDER BY s.id, c.channel
        RETURNING 1)
    SELECT (SELECT count(*) FROM stored) AS messages, (SELECT count(*) FROM delivered) AS deliveries
    """
)
_CLAIM: Final = text(
    """
    WITH live AS (
        SELECT 1 FROM workers WHERE worker_id = :sender_id AND lease_expires_at > now() FOR KEY SHARE),
    claimed AS (
        UPDATE msg_deliveries
        SET status = 'SENDING', sender_id = :sender_id, attempts = attempts + 1, held_until = NULL
        WHERE id = ANY(ARRAY(
            SELECT id FROM msg_deliveries
            WHERE status = 'PENDING' AND next_attempt_at <= COALESCE(CAST(:now_at AS timestamptz), now())
              AND channel = ANY(CAST(:channels AS text[])) AND EXISTS (SELECT FROM live)
            ORDER BY next_attempt_at, id LIMIT :limit FOR UPDATE SKIP LOCKED))
        RETURNING id, message_id, channel, attempts, dedup_key, next_attempt_at)
    SELECT c.id, c.message_id, m.user_id, c.channel, c.attempts, c.dedup_key, m.notification_type,
           m.title, m.body, m.payload, m.created_at, c.next_attempt_at AS due_at,
           COALESCE(CAST(:now_at AS timestamptz), now()) AS claimed_at,
           c.channel = ANY(CAST(:disturbing AS text[])) AND m.priority <> 'urgent'
             AND EXISTS (SELECT FROM msg_quiet_hours q WHERE q.user_id = m.user_id) AS may_wait
    FROM claimed c JOIN msg_messages m ON m.id = c.message_id ORDER BY c.id
    """
)
_SETTLE: Final = text(
    """
    UPDATE msg_deliveries d
    SET status = k.status, provider_message_id = k.provider_message_id, error = k.error, sender_id = NULL,
        sent_at = CASE WHEN k.status = 'SENT' THEN now() END,
        next_attempt_at = COALESCE(CAST(:now_at AS timestamptz), now()) + make_interval(secs => k.retry_seconds)
    FROM unnest(CAST(:ids AS bigint[]), CAST(:attempts AS int[]), CAST(:statuses AS text[]),
                CAST(:provider_ids AS text[]), CAST(:errors AS text[]), CAST(:retry_seconds AS float8[]))
         AS k(id, attempts, status, provider_message_id, error, retry_seconds)
    WHERE d.id = k.id AND d.sender_id = :sender_id AND d.attempts = k.attempts
      AND (d.status || '') = 'SENDING'
    RETURNING d.id, COALESCE(CAST(:now_at AS timestamptz), now()) AS ended_at
    """
)
_RELEASE_HELD: Final = text(
    """
    UPDATE msg_deliveries SET status = 'PENDING', sender_id = NULL, next_attempt_at = now()
    WHERE status = 'SENDING' AND sender_id = :sender_id
    """
)
_PUT_IN_INBOX: Final = text(
    """
    INSERT INTO msg_inbox (user_id, message_id, dedup_key) VALUES (:user_id, :message_id, :dedup_key)
    ON CONFLICT (dedup_key) DO NOTHING
    """
)
_LIST: Final = text(
    """
    SELECT m.message_id, m.user_id, m.notification_type, m.priority, m.title, m.body, d.channel, d.status,
           d.attempts, d.dedup_key, d.error, d.created_at, d.sent_at,
           CASE WHEN d.held_until > COALESCE(CAST(:now_at AS timestamptz), now()) THEN d.held_until END
             AS held_until
    FROM msg_deliveries d JOIN msg_messages m ON m.id = d.message_id
    WHERE m.user_id = :user_id AND (CAST(:status AS text) IS NULL OR d.status = :status)
      AND CASE WHEN CAST(:channel AS text) IS NULL THEN (m.notification_type = :action) = :actions
               ELSE d.channel = :channel END
    ORDER BY d.id DESC LIMIT :limit
    """
)


class PostgresOutbox:
    """Messages and deliveries."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        """Store messages with their deliveries; return how many were new."""
        async with self._database.transaction() as connection:
            return await add_messages(connection, messages)

    async def claim(
        self, sender_id: WorkerId, channels: Sequence[str], limit: int, *, disturbing: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        """Take due deliveries in one statement, if the sender's lease is alive.

        What quiet hours hold is put back in the same transaction, so no kill lets it look tried; if that is all
        there was, what is due behind it is taken.
        """
        values = {
            "sender_id": sender_id,
            "channels": list(channels),
            "limit": limit,
            "disturbing": list(disturbing),
        }
        while True:
            async with self._database.transaction() as connection:
                rows = (await connection.execute(_CLAIM, {**values, "now_at": self._now()})).all()
                held = await hold_back(connection, [row for row in rows if row.may_wait])
            if not rows or len(held) < len(rows):
                return [_delivery(row) for row in rows if row.id not in held]

    async def settle(self, sender_id: WorkerId, settled: Sequence[Settled]) -> None:
        """Record how tries ended, and tell of failed actions; what was taken away meanwhile is left alone."""
        settled = [
            replace(one, error=_storable(one.error), provider_message_id=_storable(one.provider_message_id))
            for one in settled
        ]
        values = {
            "sender_id": sender_id,
            "ids": [one.delivery.id for one in settled],
            "attempts": [one.delivery.attempts for one in settled],
            "statuses": [str(one.status) for one in settled],
            "provider_ids": [one.provider_message_id for one in settled],
            "errors": [one.error for one in settled],
            "retry_seconds": [one.retry_in.total_seconds() for one in settled],
            "now_at": self._now(),
        }
        async with self._database.transaction() as connection:
            ended = {row.id: row.ended_at for row in await connection.execute(_SETTLE, values)}
            ours = [one for one in settled if one.delivery.id in ended]
            told = [failure_message(one, ended[one.delivery.id]) for one in ours]
            await add_messages(connection, [message for message in told if message is not None])

    async def release_held(self, sender_id: WorkerId) -> int:
        """Return everything this sender still holds to PENDING."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_RELEASE_HELD, {"sender_id": sender_id})).rowcount

    async def put_in_inbox(self, delivery: Delivery) -> None:
        """Show a delivery in its user's inbox, once however often it is sent."""
        values = {
            "user_id": delivery.user_id,
            "message_id": delivery.message_id,
            "dedup_key": delivery.dedup_key,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_PUT_IN_INBOX, values)

    async def list_deliveries(
        self,
        user_id: int,
        *,
        status: DeliveryStatus | None,
        channel: str | None,
        limit: int,
        actions: bool = False,
    ) -> list[DeliveryRecord]:
        """Return a user's deliveries, newest first: those of a channel, else of messages or else of actions."""
        values = {
            "user_id": user_id,
            "status": status,
            "channel": channel,
            "limit": limit,
            "action": ACTION,
            "actions": actions,
            "now_at": self._now(),
        }
        async with self._database.transaction() as connection:
            return [_record(row) for row in await connection.execute(_LIST, values)]

    def _now(self) -> datetime | None:
        return None if self._clock is None else self._clock.now()


async def add_messages(connection: AsyncConnection, messages: Sequence[OutgoingMessage]) -> int:
    """Store messages and their deliveries within somebody's transaction; return how many were new.

    A message whose key is stored already is left as it is, deliveries included.
    """
    if not messages:
        return 0
    pairs = [(message, channel) for message in messages for channel in message.channels]
    values = {
        "user_ids": [message.user_id for message in messages],
        "types": [message.notification_type for message in messages],
        "priorities": [str(message.priority) for message in messages],
        "titles": [message.title for message in messages],
        "bodies": [message.body for message in messages],
        "payloads": [json.dumps(message.payload) for message in messages],
        "keys": [message.dedup_key for message in messages],
        "delivery_of": [message.dedup_key for message, _ in pairs],
        "channels": [channel for _, channel in pairs],
        "delivery_keys": [message.delivery_key(channel) for message, channel in pairs],
        "refusals": [message.refusal for message, _ in pairs],
    }
    stored = (await connection.execute(_ADD, values)).one()
    if stored.deliveries:
        await connection.execute(text("SELECT pg_notify('atf_outbox', '')"))
    return int(stored.messages)


def _storable(given: str | None) -> str | None:
    return None if given is None else storable_text(given)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{field.name: row._mapping[field.name] for field in fields(Delivery)})


def _record(row: Row[Any]) -> DeliveryRecord:
    stored = dict(row._mapping)
    return DeliveryRecord(**{**stored, "priority": Priority(row.priority), "status": DeliveryStatus(row.status)})
