"""What users are known by elsewhere, and the codes that prove it, as SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.security.identities_service import Identity
from atf.security.one_time import CODE_LIFETIME, CODES_PER_HOUR, CodeState, IdentityKind, StoredCode
from atf.storage.database import Database
from atf.storage.one_time_links import lock_user

_MADE: Final = text(
    """
    SELECT count(*) FROM email_codes
    WHERE user_id = :user_id AND created_at > clock_timestamp() - interval '1 hour'
    """
)
_PRUNE: Final = text(
    "DELETE FROM email_codes WHERE user_id = :user_id AND created_at < clock_timestamp() - interval '1 day'"
)
_ADD: Final = text(
    """
    INSERT INTO email_codes (user_id, email, hash, created_at, expires_at)
    VALUES (:user_id, :email, :hash, clock_timestamp(), clock_timestamp() + CAST(:lifetime AS interval))
    RETURNING expires_at
    """
)
# The newest one alone counts.
_NEWEST: Final = text(
    """
    SELECT id, hash, expires_at, tries, used_at IS NOT NULL AS is_used, clock_timestamp() AS now
    FROM email_codes WHERE user_id = :user_id AND email = :email ORDER BY id DESC LIMIT 1
    """
)
_TRIED: Final = text(
    """
    UPDATE email_codes
    SET tries = tries + 1, used_at = CASE WHEN :is_right THEN clock_timestamp() ELSE used_at END WHERE id = :id
    """
)
_REMEMBER: Final = text(
    """
    INSERT INTO user_identities (user_id, kind, value) VALUES (:user_id, :kind, :value)
    ON CONFLICT (kind, value) DO UPDATE SET verified_at = excluded.verified_at
    WHERE user_identities.user_id = excluded.user_id
    """
)
_LIST: Final = text("SELECT kind, value, verified_at FROM user_identities WHERE user_id = :user_id ORDER BY id")


class PostgresIdentities:
    """What users are known by elsewhere."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_code(self, user_id: int, email: str, digest: bytes) -> datetime | None:
        """Store a code and return until when it holds; None if the user had too many within the last hour.

        Codes for the same address that the user had before end.
        """
        async with self._database.transaction() as connection:
            await lock_user(connection, user_id)
            made = await connection.execute(_MADE, {"user_id": user_id})
            if made.scalar_one() >= CODES_PER_HOUR:
                return None
            await connection.execute(_PRUNE, {"user_id": user_id})
            values = {"user_id": user_id, "email": email, "hash": digest, "lifetime": CODE_LIFETIME}
            expires_at: datetime = (await connection.execute(_ADD, values)).scalar_one()
            return expires_at

    async def try_code(self, user_id: int, email: str, digest: bytes) -> CodeState:
        """Judge a try and count it; of a right one the code is used up and the identity stored."""
        async with self._database.transaction() as connection:
            await lock_user(connection, user_id)
            row = (await connection.execute(_NEWEST, {"user_id": user_id, "email": email})).first()
            if row is None:
                return CodeState.NONE
            state = StoredCode(row.hash, row.expires_at, row.tries, row.is_used).state(digest, row.now)
            if state in (CodeState.RIGHT, CodeState.WRONG):
                await connection.execute(_TRIED, {"id": row.id, "is_right": state is CodeState.RIGHT})
            if state is not CodeState.RIGHT:
                return state
            is_free = await remember(connection, user_id, IdentityKind.EMAIL, email)
            return CodeState.RIGHT if is_free else CodeState.TAKEN

    async def list_identities(self, user_id: int) -> Sequence[Identity]:
        """Return what a user is known by, the oldest first."""
        async with self._database.transaction() as connection:
            return [_identity(row) for row in await connection.execute(_LIST, {"user_id": user_id})]


async def remember(connection: AsyncConnection, user_id: int, kind: IdentityKind, value: str) -> bool:
    """Store what a user is known by; return False, and store nothing, if another user is known by it."""
    stored = await connection.execute(_REMEMBER, {"user_id": user_id, "kind": kind, "value": value})
    return bool(stored.rowcount)


def _identity(row: Row[Any]) -> Identity:
    return Identity(IdentityKind(row.kind), row.value, row.verified_at)
