"""Messages and their deliveries, stored in the transaction of what they report: they stand or fall with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.notifications.intake import Receipt
from atf.notifications.message import OutgoingMessage
from atf.notifications.preferences import INBOX, Preferences

_ADD: Final = text(
    """
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:user_ids AS int[]), CAST(:types AS text[]), CAST(:priorities AS text[]),
            CAST(:titles AS text[]), CAST(:bodies AS text[]), CAST(:payloads AS text[]), CAST(:keys AS text[]),
            CAST(:scheduled AS timestamptz[])
        ) AS g(user_id, notification_type, priority, title, body, payload, dedup_key, scheduled_for)),
    stored AS (
        INSERT INTO msg_messages (user_id, notification_type, priority, title, body, payload, dedup_key,
                                  scheduled_for)
        SELECT user_id, notification_type, priority, title, body, CAST(payload AS jsonb), dedup_key, scheduled_for
        FROM given
        ON CONFLICT (dedup_key) DO NOTHING RETURNING id, message_id, user_id, dedup_key, scheduled_for),
    delivered AS (
        INSERT INTO msg_deliveries (message_id, user_id, urgency, lane, channel, dedup_key, status, error,
                                    next_attempt_at, settled_at)
        SELECT DISTINCT s.id, s.user_id, c.urgency, c.lane, c.channel, c.delivery_key,
               CASE WHEN c.refusal IS NULL THEN 'PENDING' ELSE 'FAILED' END, c.refusal,
               GREATEST(s.scheduled_for, now()), CASE WHEN c.refusal IS NOT NULL THEN now() END
        FROM stored s
        JOIN unnest(CAST(:delivery_of AS text[]), CAST(:channels AS text[]), CAST(:delivery_keys AS text[]),
                    CAST(:refusals AS text[]), CAST(:urgencies AS int[]), CAST(:lanes AS text[]))
             AS c(dedup_key, channel, delivery_key, refusal, urgency, lane) ON c.dedup_key = s.dedup_key
        ORDER BY s.id, c.channel
        RETURNING 1)
    SELECT (SELECT COALESCE(jsonb_object_agg(dedup_key, jsonb_build_array(id, message_id)), '{}') FROM stored)
             AS stored,
           (SELECT count(*) FROM delivered) AS deliveries
    """
)
_ATTACH: Final = text(
    """
    INSERT INTO msg_attachments (message_id, position, name, media_type, content)
    VALUES (:message_id, :position, :name, :media_type, :content)
    """
)
_ROUTES: Final = text(
    """
    SELECT user_id, notification_type, channel, is_on FROM msg_routes
    WHERE user_id = ANY(CAST(:user_ids AS int[]))
    """
)
# What a user can be reached by; needed of those alone whose messages ask for no channel.
_AVAILABLE: Final = text(
    """
    SELECT user_id, kind AS channel FROM user_identities WHERE user_id = ANY(CAST(:user_ids AS int[]))
    UNION SELECT user_id, channel FROM msg_addresses WHERE user_id = ANY(CAST(:user_ids AS int[]))
    """
)


_FIND: Final = text("SELECT dedup_key, message_id FROM msg_messages WHERE dedup_key = ANY(CAST(:keys AS text[]))")


async def add_messages(connection: AsyncConnection, messages: Sequence[OutgoingMessage]) -> int:
    """Store messages and their deliveries within somebody's transaction; return how many were new.

    A message whose key is stored already is left as it is, deliveries included.
    """
    return len(await _add(connection, messages)) if messages else 0


async def receive_messages(
    connection: AsyncConnection, messages: Sequence[OutgoingMessage]
) -> Mapping[str, Receipt]:
    """Store messages as ``add_messages`` does; return a receipt by dedup key, also of those that were there."""
    new = await _add(connection, messages)
    receipts = {key: Receipt(message_id, is_new=True) for key, message_id in new.items()}
    known = [message.dedup_key for message in messages if message.dedup_key not in receipts]
    if known:
        for row in await connection.execute(_FIND, {"keys": known}):
            receipts[row.dedup_key] = Receipt(row.message_id, is_new=False)
    return receipts


async def _add(connection: AsyncConnection, messages: Sequence[OutgoingMessage]) -> Mapping[str, UUID]:
    """Store messages; return the ids of the new ones by dedup key."""
    messages = await _routed(connection, messages)
    stored = (await connection.execute(_ADD, _values(messages))).one()
    files = [
        {
            "message_id": stored.stored[message.dedup_key][0],
            "position": position,
            "name": one.name,
            "media_type": one.media_type,
            "content": one.content,
        }
        for message in messages
        if message.dedup_key in stored.stored
        for position, one in enumerate(message.attachments)
    ]
    if files:
        await connection.execute(_ATTACH, files)
    if stored.deliveries:
        await connection.execute(text("SELECT pg_notify('atf_outbox', '')"))
    return {key: UUID(message_id) for key, (_, message_id) in stored.stored.items()}


def _values(messages: Sequence[OutgoingMessage]) -> Mapping[str, object]:
    pairs = [(message, channel) for message in messages for channel in message.channels or ()]
    return {
        "user_ids": [message.user_id for message in messages],
        "types": [message.notification_type for message in messages],
        "priorities": [str(message.priority) for message in messages],
        "titles": [message.title for message in messages],
        "bodies": [message.body for message in messages],
        "payloads": [json.dumps(message.payload) for message in messages],
        "keys": [message.dedup_key for message in messages],
        "scheduled": [message.scheduled_for for message in messages],
        "delivery_of": [message.dedup_key for message, _ in pairs],
        "channels": [channel for _, channel in pairs],
        "delivery_keys": [message.delivery_key(channel) for message, channel in pairs],
        "refusals": [message.refusal for message, _ in pairs],
        "urgencies": [message.priority.urgency for message, _ in pairs],
        "lanes": [message.lane for message, _ in pairs],
    }


async def _routed(connection: AsyncConnection, messages: Sequence[OutgoingMessage]) -> Sequence[OutgoingMessage]:
    """Return the messages with the channels that their users want them on."""
    if all(message.channels in ((INBOX,), ()) for message in messages):
        return messages
    routes = await _routes(connection, {message.user_id for message in messages})
    undecided = {message.user_id for message in messages if message.channels is None}
    if not routes and not undecided:
        return messages
    available: dict[int, set[str]] = {}
    if undecided:
        for row in await connection.execute(_AVAILABLE, {"user_ids": sorted(undecided)}):
            available.setdefault(row.user_id, set()).add(row.channel)
    return [
        _routed_by(
            routes.get(message.user_id, Preferences()), message, frozenset(available.get(message.user_id, ()))
        )
        for message in messages
    ]


def _routed_by(wishes: Preferences, message: OutgoingMessage, available: frozenset[str]) -> OutgoingMessage:
    if message.channels == ():
        return message
    asked = message.channels or ()
    return replace(message, channels=wishes.channels_for(message.notification_type, asked, available))


async def _routes(connection: AsyncConnection, user_ids: set[int]) -> Mapping[int, Preferences]:
    found: dict[int, dict[tuple[str, str], bool]] = {}
    for row in await connection.execute(_ROUTES, {"user_ids": sorted(user_ids)}):
        found.setdefault(row.user_id, {})[(row.notification_type, row.channel)] = row.is_on
    return {user_id: Preferences(routes=routes) for user_id, routes in found.items()}
