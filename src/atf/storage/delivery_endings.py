"""How tries of deliveries ended, as SQL: fenced, told to whom it concerns, and passed on to another channel."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.jobs.run import WorkerId
from atf.notifications.failed_action import failure_message
from atf.notifications.message import ACTION, CODE, DeliveryStatus
from atf.notifications.outbox import Settled
from atf.storage.message_adding import add_messages
from atf.storage.stored_text import storable_text

_FAILURES: Final = (DeliveryStatus.FAILED, DeliveryStatus.DEAD)
_SETTLE: Final = text(
    """
    WITH ended AS (
        UPDATE msg_deliveries d
        SET status = k.status, provider_message_id = k.provider_message_id, error = k.error, sender_id = NULL,
        attempts = d.attempts + k.counts, waits = k.status = 'PENDING',
        sent_at = CASE WHEN k.status = 'SENT' THEN now() END,
        settled_at = CASE WHEN k.status <> 'PENDING' THEN now() END,
        next_attempt_at = COALESCE(CAST(:now_at AS timestamptz), now()) + make_interval(secs => k.retry_seconds)
    FROM unnest(CAST(:ids AS bigint[]), CAST(:statuses AS text[]), CAST(:provider_ids AS text[]),
                CAST(:errors AS text[]), CAST(:retry_seconds AS float8[]), CAST(:counts AS int[]))
         AS k(id, status, provider_message_id, error, retry_seconds, counts)
    WHERE d.id = k.id AND d.sender_id = :sender_id AND (d.status || '') = 'SENDING'
    RETURNING d.id, d.user_id, d.channel, d.status),
    reached AS (
        DELETE FROM msg_unreachable u USING ended e
        WHERE e.status = 'SENT' AND u.user_id = e.user_id AND u.channel = e.channel)
    SELECT id, COALESCE(CAST(:now_at AS timestamptz), now()) AS ended_at FROM ended
    """
)
# Their place in the order is what it was.
_GIVE_BACK: Final = text(
    """
    UPDATE msg_deliveries SET status = 'PENDING', sender_id = NULL
    WHERE id = ANY(CAST(:ids AS bigint[])) AND sender_id = :sender_id AND (status || '') = 'SENDING'
    """
)
_RELEASE_DELIVERIES: Final = text(
    "UPDATE msg_deliveries SET status = 'PENDING', sender_id = NULL "
    "WHERE status = 'SENDING' AND sender_id = :sender_id"
)
_RELEASE_CHANNELS: Final = text("UPDATE msg_channels SET sender_id = NULL WHERE sender_id = :sender_id")
# Once a message and channel, whichever of its deliveries fail, and never to where it failed already.
_FALL_BACK: Final = text(
    """
    INSERT INTO msg_deliveries (message_id, user_id, urgency, channel, dedup_key)
    SELECT DISTINCT d.message_id, d.user_id, d.urgency, COALESCE(p.fallback, 'inbox'),
           m.dedup_key || ':' || COALESCE(p.fallback, 'inbox')
    FROM msg_deliveries d JOIN msg_messages m ON m.id = d.message_id
    LEFT JOIN msg_preferences p ON p.user_id = d.user_id
    WHERE d.id = ANY(CAST(:ids AS bigint[]))
    ON CONFLICT (dedup_key) DO NOTHING
    """
)
_FORGET: Final = text("UPDATE msg_messages SET body = '***' WHERE id = ANY(CAST(:ids AS bigint[]))")
_UNREACHABLE: Final = text(
    """
    INSERT INTO msg_unreachable (user_id, channel, reason)
    SELECT DISTINCT ON (k.user_id, k.channel) k.user_id, k.channel, k.reason
    FROM unnest(CAST(:user_ids AS int[]), CAST(:channels AS text[]), CAST(:reasons AS text[]))
         AS k(user_id, channel, reason)
    ORDER BY 1, 2
    ON CONFLICT (user_id, channel) DO UPDATE SET reason = EXCLUDED.reason
    """
)


async def settle(
    connection: AsyncConnection,
    sender_id: WorkerId,
    settled: Sequence[Settled],
    untouched: Collection[int],
    now: datetime | None,
) -> None:
    """Record how tries ended; what was taken away meanwhile is left alone."""
    if untouched:
        await connection.execute(_GIVE_BACK, {"ids": list(untouched), "sender_id": sender_id})
    if not settled:
        return
    settled = [_storable(one) for one in settled]
    values = {
        "sender_id": sender_id,
        "ids": [one.delivery.id for one in settled],
        "statuses": [str(one.status) for one in settled],
        "provider_ids": [one.provider_message_id for one in settled],
        "errors": [one.error for one in settled],
        "retry_seconds": [one.retry_in.total_seconds() for one in settled],
        "counts": [int(one.counts) for one in settled],
        "now_at": now,
    }
    ended = {row.id: row.ended_at for row in await connection.execute(_SETTLE, values)}
    ours = [one for one in settled if one.delivery.id in ended]
    told = [failure_message(one, ended[one.delivery.id]) for one in ours]
    await add_messages(connection, [message for message in told if message is not None])
    await _pass_on([one for one in ours if one.status in _FAILURES], connection)
    await _forget_codes([one for one in ours if one.status is not DeliveryStatus.PENDING], connection)
    await _note_unreachable([one for one in ours if one.unreachable], connection)


async def release_held(connection: AsyncConnection, sender_id: WorkerId) -> int:
    """Give back all that a sender still holds; return how many deliveries."""
    released = (await connection.execute(_RELEASE_DELIVERIES, {"sender_id": sender_id})).rowcount
    await connection.execute(_RELEASE_CHANNELS, {"sender_id": sender_id})
    return released


async def _pass_on(failed: Sequence[Settled], connection: AsyncConnection) -> None:
    """Deliver by the user's fallback channel what another channel could not."""
    ids = [one.delivery.id for one in failed if one.delivery.notification_type not in (ACTION, CODE)]
    if ids and (await connection.execute(_FALL_BACK, {"ids": ids})).rowcount:
        await connection.execute(text("SELECT pg_notify('atf_outbox', '')"))


async def _forget_codes(over: Sequence[Settled], connection: AsyncConnection) -> None:
    """Forget the words of codes that were sent: a copy of the database must not hold what opens a door."""
    ids = [one.delivery.message_id for one in over if one.delivery.notification_type == CODE]
    if ids:
        await connection.execute(_FORGET, {"ids": ids})


async def _note_unreachable(gone: Sequence[Settled], connection: AsyncConnection) -> None:
    """Say of addresses that take nothing any more; it holds until something is taken again."""
    if gone:
        values = {
            "user_ids": [one.delivery.user_id for one in gone],
            "channels": [one.delivery.channel for one in gone],
            "reasons": [one.error for one in gone],
        }
        await connection.execute(_UNREACHABLE, values)


def _storable(one: Settled) -> Settled:
    return replace(one, error=_text(one.error), provider_message_id=_text(one.provider_message_id))


def _text(given: str | None) -> str | None:
    return None if given is None else storable_text(given)
