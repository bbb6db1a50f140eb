"""Where users are reached, as SQL: identities that were proved, and addresses that need no proof."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import text

from atf.notifications.channel import Recipient
from atf.notifications.preferences import Address, Unreachable
from atf.storage.database import Database

# An address that a user has set for a channel counts more than the identity of the same kind.
_RECIPIENTS: Final = text(
    """
    SELECT u.id, COALESCE(p.language, 'en') AS language, COALESCE(p.timezone, 'UTC') AS timezone,
           COALESCE(a.address, (SELECT i.value FROM user_identities i
                                WHERE i.user_id = u.id AND i.kind = :channel
                                ORDER BY i.verified_at DESC, i.id DESC LIMIT 1), '') AS address
    FROM users u
    LEFT JOIN msg_preferences p ON p.user_id = u.id
    LEFT JOIN msg_addresses a ON a.user_id = u.id AND a.channel = :channel
    WHERE u.id = ANY(CAST(:user_ids AS int[]))
    """
)
_MOVE_ADDRESS: Final = text(
    "UPDATE msg_addresses SET address = :to WHERE user_id = :user_id AND channel = :channel AND address = :from"
)
# An identity is one user's alone: what another one has proved by now stays that one's.
_MOVE_IDENTITY: Final = text(
    """
    UPDATE user_identities SET value = :to
    WHERE user_id = :user_id AND kind = :channel AND value = :from
      AND NOT EXISTS (SELECT FROM user_identities i WHERE i.kind = :channel AND i.value = :to)
    """
)
_SET: Final = text(
    """
    INSERT INTO msg_addresses (user_id, channel, address) VALUES (:user_id, :channel, :address)
    ON CONFLICT (user_id, channel) DO UPDATE SET address = EXCLUDED.address
    """
)
_CLEAR: Final = text("DELETE FROM msg_addresses WHERE user_id = :user_id AND channel = :channel")
_FORGET_UNREACHABLE: Final = text("DELETE FROM msg_unreachable WHERE user_id = :user_id AND channel = :channel")
_LIST: Final = text(
    """
    SELECT channel, address, false AS is_verified FROM msg_addresses WHERE user_id = :user_id
    UNION ALL
    SELECT kind, value, true FROM user_identities WHERE user_id = :user_id
    ORDER BY 1, 2
    """
)
_UNREACHABLE: Final = text(
    "SELECT channel, since, reason FROM msg_unreachable WHERE user_id = :user_id ORDER BY channel"
)


class PostgresAddresses:
    """The addresses of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recipients(self, channel: str, user_ids: Collection[int]) -> Mapping[int, Recipient]:
        """Return all of these users with their address, which is empty if none is known."""
        values = {"channel": channel, "user_ids": list(user_ids)}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_RECIPIENTS, values)).all()
        return {row.id: Recipient(row.id, row.address, row.language, row.timezone) for row in rows}

    async def moved(self, channel: str, recipient: Recipient, address: str) -> None:
        """Remember another address of a recipient, in place of the one that it had."""
        values = {
            "channel": channel,
            "user_id": recipient.user_id,
            "from": recipient.address,
            "to": address,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_MOVE_ADDRESS, values)
            await connection.execute(_MOVE_IDENTITY, values)

    async def set_address(self, user_id: int, channel: str, address: str) -> None:
        """Store where a user is reached on a channel; whether that works is to be found out anew."""
        values = {"user_id": user_id, "channel": channel, "address": address}
        async with self._database.transaction() as connection:
            await connection.execute(_SET, values)
            await connection.execute(_FORGET_UNREACHABLE, {"user_id": user_id, "channel": channel})

    async def clear_address(self, user_id: int, channel: str) -> bool:
        """Forget where a user is reached on a channel; return whether there was anything."""
        async with self._database.transaction() as connection:
            values = {"user_id": user_id, "channel": channel}
            return (await connection.execute(_CLEAR, values)).rowcount == 1

    async def addresses_of(self, user_id: int) -> Sequence[Address]:
        """Return where a user is reached."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_LIST, {"user_id": user_id})
            return [Address(**row._mapping) for row in rows]

    async def unreachable(self, user_id: int) -> Sequence[Unreachable]:
        """Return on which channels nothing reaches a user any more."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_UNREACHABLE, {"user_id": user_id})
            return [Unreachable(**row._mapping) for row in rows]
