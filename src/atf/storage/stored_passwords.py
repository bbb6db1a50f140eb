"""A password's hash as SQL, and what ends when it changes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.security.session import SessionEnd
from atf.storage.sign_in_failures import forget_failures

_HASH: Final = text("SELECT hash FROM user_passwords WHERE user_id = :user_id")
_LOCK_HASH: Final = text("SELECT hash FROM user_passwords WHERE user_id = :user_id FOR UPDATE")
_SET: Final = text(
    """
    INSERT INTO user_passwords (user_id, hash) VALUES (:user_id, :hash)
    ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed_at = clock_timestamp()
    """
)
_END_SESSIONS: Final = text(
    """
    UPDATE user_sessions SET ended_at = clock_timestamp(), end_reason = :reason
    WHERE user_id = :user_id AND ended_at IS NULL
    """
)
_END_LINKS: Final = text(
    """
    DELETE FROM one_time_links
    WHERE user_id = :user_id AND used_at IS NULL AND purpose IN ('setup', 'reset')
    """
)


async def password_hash(connection: AsyncConnection, user_id: int) -> str | None:
    """Return the hash of a user's password."""
    found: str | None = (await connection.execute(_HASH, {"user_id": user_id})).scalar_one_or_none()
    return found


async def set_password(
    connection: AsyncConnection, user_id: int, hashed: str, *, instead_of: str | None = None
) -> bool:
    """Store a password's hash; sessions, failures and open links of the user end.

    Return False, and do nothing, if the hash is not ``instead_of`` any more.
    """
    if instead_of is not None:
        present = (await connection.execute(_LOCK_HASH, {"user_id": user_id})).scalar_one_or_none()
        if present != instead_of:
            return False
    await connection.execute(_SET, {"user_id": user_id, "hash": hashed})
    await end_sessions(connection, user_id, SessionEnd.PASSWORD)
    await connection.execute(_END_LINKS, {"user_id": user_id})
    await forget_failures(connection, user_id)
    return True


async def end_sessions(connection: AsyncConnection, user_id: int, reason: SessionEnd) -> None:
    """End all sessions of a user."""
    await connection.execute(_END_SESSIONS, {"user_id": user_id, "reason": reason})
