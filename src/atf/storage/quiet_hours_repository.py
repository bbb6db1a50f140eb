"""Quiet hours as SQL: what users wish, and what of a claim waits for their end.

A hold is decided in the transaction of the claim, under a lock on the user's quiet hours; a change of them waits
for that lock and then lets go of what is held. So a delivery is never left held for hours that hold no more.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import InvalidInput
from atf.notifications.quiet_hours import QuietHours, QuietStatus, Weekday, in_order
from atf.storage.database import Database

_LOGGER = logging.getLogger(__name__)

_SHARED: Final = text(
    """
    SELECT user_id, begins, ends, timezone, days FROM msg_quiet_hours
    WHERE user_id = ANY(CAST(:user_ids AS int[])) ORDER BY user_id FOR SHARE
    """
)
_HOLD: Final = text(
    """
    UPDATE msg_deliveries d
    SET status = 'PENDING', sender_id = NULL, attempts = d.attempts - 1, next_attempt_at = k.ends_at,
        held_until = k.ends_at
    FROM unnest(CAST(:ids AS bigint[]), CAST(:ends AS timestamptz[])) AS k(id, ends_at) WHERE d.id = k.id
    """
)
_SET: Final = text(
    """
    INSERT INTO msg_quiet_hours (user_id, begins, ends, timezone, days)
    VALUES (:user_id, :begins, :ends, :timezone, CAST(:days AS text[]))
    ON CONFLICT (user_id) DO UPDATE SET begins = EXCLUDED.begins, ends = EXCLUDED.ends,
        timezone = EXCLUDED.timezone, days = EXCLUDED.days, updated_at = now()
    """
)
_CLEAR: Final = text("DELETE FROM msg_quiet_hours WHERE user_id = :user_id")
# What a claim has locked just now is decided after our change, as that claim waits for our lock; to wait for it
# in return would be a deadlock. What is released goes back to its place in the order of writing.
_RELEASE: Final = text(
    """
    UPDATE msg_deliveries SET next_attempt_at = created_at, held_until = NULL
    WHERE id = ANY(ARRAY(
        SELECT d.id FROM msg_deliveries d JOIN msg_messages m ON m.id = d.message_id
        WHERE d.held_until IS NOT NULL AND m.user_id = :user_id
        FOR UPDATE OF d SKIP LOCKED))
    """
)
_STATUS: Final = text(
    """
    SELECT q.user_id, q.begins, q.ends, q.timezone, q.days, now() AS now_at,
        (SELECT count(*) FROM msg_deliveries d JOIN msg_messages m ON m.id = d.message_id
         WHERE d.held_until > now() AND m.user_id = u.id) AS held
    FROM users u LEFT JOIN msg_quiet_hours q ON q.user_id = u.id WHERE u.id = :user_id
    """
)


class PostgresQuietHours:
    """The quiet hours of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def status(self, user_id: int) -> QuietStatus:
        """Return a user's quiet hours and what they hold now."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_STATUS, {"user_id": user_id})).one()
        if row.user_id is None:
            return QuietStatus(None, None, row.held)
        hours = _quiet_hours(row)
        return QuietStatus(hours, hours.holds(row.now_at), row.held)

    async def set(self, user_id: int, hours: QuietHours) -> None:
        """Give a user quiet hours, in place of those of before; what is held is decided anew."""
        values = {
            "user_id": user_id,
            "begins": hours.begins,
            "ends": hours.ends,
            "timezone": hours.timezone,
            "days": [str(day) for day in in_order(hours.days)],
        }
        async with self._database.transaction() as connection:
            await connection.execute(_SET, values)
            await _release(connection, user_id)

    async def clear(self, user_id: int) -> bool:
        """Take a user's quiet hours away and let go of what is held; return whether there were any."""
        async with self._database.transaction() as connection:
            cleared = (await connection.execute(_CLEAR, {"user_id": user_id})).rowcount
            await _release(connection, user_id)
        return bool(cleared)


async def hold_back(connection: AsyncConnection, claimed: Sequence[Row[Any]]) -> frozenset[int]:
    """Put back what quiet hours hold of a claim, within the claim's transaction; return the deliveries' ids.

    Shape: rows with ``id``, ``user_id``, ``due_at`` and ``claimed_at``.
    """
    if not claimed:
        return frozenset()
    hours = await _locked(connection, {row.user_id for row in claimed})
    ends = {row.id: end for row in claimed if (end := _end(hours.get(row.user_id), row)) is not None}
    if ends:
        await connection.execute(_HOLD, {"ids": list(ends), "ends": list(ends.values())})
    return frozenset(ends)


def _end(hours: QuietHours | None, row: Row[Any]) -> datetime | None:
    """Return until when a claimed delivery waits.

    One that came to be due in quiet hours which are over is put to their end all the same: its place is behind
    what was held for them. Hours that cannot be read hold nothing, as a message at night is better than none.
    """
    if hours is None:
        return None
    try:
        return hours.holds(row.claimed_at) or hours.holds(row.due_at)
    except InvalidInput as exc:
        _LOGGER.warning("the quiet hours of user %d hold nothing: %s", row.user_id, exc)
        return None


async def _locked(connection: AsyncConnection, user_ids: Collection[int]) -> dict[int, QuietHours]:
    rows = await connection.execute(_SHARED, {"user_ids": list(user_ids)})
    return {row.user_id: _quiet_hours(row) for row in rows}


async def _release(connection: AsyncConnection, user_id: int) -> None:
    if (await connection.execute(_RELEASE, {"user_id": user_id})).rowcount:
        await connection.execute(text("SELECT pg_notify('atf_outbox', '')"))


def _quiet_hours(row: Row[Any]) -> QuietHours:
    return QuietHours(row.begins, row.ends, row.timezone, frozenset(map(Weekday, row.days)))
