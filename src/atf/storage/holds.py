"""What of a claim waits for the end of quiet hours, or for the next digest that its user wishes.

A hold is decided in the transaction of the claim, under a lock on the user's wishes; a change of them waits for
that lock and then lets go of what is held. So a delivery is never left held for wishes that are none any more.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import InvalidInput
from atf.notifications.preferences import next_digest_at
from atf.notifications.quiet_hours import QuietHours, Weekday

_LOGGER = logging.getLogger(__name__)

_SHARED_HOURS: Final = text(
    """
    SELECT user_id, begins, ends, timezone, days FROM msg_quiet_hours
    WHERE user_id = ANY(CAST(:user_ids AS int[])) ORDER BY user_id FOR SHARE
    """
)
_SHARED_DIGESTS: Final = text(
    """
    SELECT user_id, digest_minutes, timezone FROM msg_preferences
    WHERE user_id = ANY(CAST(:user_ids AS int[])) AND digest_minutes IS NOT NULL ORDER BY user_id FOR SHARE
    """
)
_HOLD: Final = text(
    """
    UPDATE msg_deliveries d
    SET status = 'PENDING', sender_id = NULL, next_attempt_at = k.ends_at, held_until = k.ends_at
    FROM unnest(CAST(:ids AS bigint[]), CAST(:ends AS timestamptz[])) AS k(id, ends_at) WHERE d.id = k.id
    """
)
# What a claim has locked just now is decided after our change, as that claim waits for our lock; to wait for it
# in return would be a deadlock. What is released goes back to its place in the order of writing.
_RELEASE: Final = text(
    """
    UPDATE msg_deliveries SET next_attempt_at = created_at, held_until = NULL
    WHERE id = ANY(ARRAY(
        SELECT d.id FROM msg_deliveries d
        WHERE d.held_until IS NOT NULL AND d.user_id = :user_id AND d.status = 'PENDING'
        FOR UPDATE SKIP LOCKED))
    """
)


@dataclass(frozen=True, slots=True)
class _Wishes:
    hours: Mapping[int, QuietHours]
    digests: Mapping[int, tuple[timedelta, str]]

    def hold(self, row: Row[Any]) -> datetime | None:
        """Return until when a claimed delivery waits.

        One that came to be due in quiet hours which are over is put to their end all the same: its place is
        behind what was held for them. What has been held once waits for no digest any more. Wishes that cannot be
        read hold nothing, as a message at night is better than none.
        """
        try:
            return self._quiet(row) or self._digest(row)
        except InvalidInput as exc:
            _LOGGER.warning("the wishes of user %d hold nothing: %s", row.user_id, exc)
            return None

    def _quiet(self, row: Row[Any]) -> datetime | None:
        hours = self.hours.get(row.user_id)
        return None if hours is None else hours.holds(row.claimed_at) or hours.holds(row.due_at)

    def _digest(self, row: Row[Any]) -> datetime | None:
        digest = self.digests.get(row.user_id)
        if digest is None or row.was_held or row.attempts:
            return None
        every, timezone = digest
        return next_digest_at(every, row.claimed_at, timezone)


async def hold_back(connection: AsyncConnection, claimed: Sequence[Row[Any]]) -> frozenset[int]:
    """Put back what is to wait of a claim, within the claim's transaction; return the deliveries' ids.

    Shape: rows with ``id``, ``user_id``, ``attempts``, ``due_at``, ``claimed_at`` and ``was_held``.
    """
    if not claimed:
        return frozenset()
    wishes = await _wishes(connection, {row.user_id for row in claimed})
    ends = {row.id: end for row in claimed if (end := wishes.hold(row)) is not None}
    if ends:
        await connection.execute(_HOLD, {"ids": list(ends), "ends": list(ends.values())})
    return frozenset(ends)


async def release(connection: AsyncConnection, user_id: int) -> None:
    """Let go of what is held for a user, whose wishes were changed in this transaction."""
    if (await connection.execute(_RELEASE, {"user_id": user_id})).rowcount:
        await connection.execute(text("SELECT pg_notify('atf_outbox', '')"))


def quiet_hours_of(row: Row[Any]) -> QuietHours:
    """Return quiet hours as they are stored."""
    return QuietHours(row.begins, row.ends, row.timezone, frozenset(map(Weekday, row.days)))


async def _wishes(connection: AsyncConnection, user_ids: Collection[int]) -> _Wishes:
    wanted = {"user_ids": list(user_ids)}
    hours = {row.user_id: quiet_hours_of(row) for row in await connection.execute(_SHARED_HOURS, wanted)}
    digests = {
        row.user_id: (timedelta(minutes=row.digest_minutes), row.timezone)
        for row in await connection.execute(_SHARED_DIGESTS, wanted)
    }
    return _Wishes(hours, digests)
