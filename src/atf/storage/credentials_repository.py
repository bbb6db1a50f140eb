"""Passwords and one-time links of users who are known, as SQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from atf.security.account_store import CountedTry
from atf.security.one_time import Link, LinkPurpose
from atf.security.tokens import Token
from atf.storage import one_time_links, sign_in_failures, stored_passwords
from atf.storage.database import Database

_LACKS: Final = text(
    """
    SELECT u.id FROM users u
    WHERE u.name = :name AND u.is_active
      AND NOT EXISTS (SELECT 1 FROM user_passwords p WHERE p.user_id = u.id)
      AND NOT EXISTS (SELECT 1 FROM one_time_links l WHERE l.user_id = u.id AND l.used_at IS NULL
                      AND l.purpose IN ('setup', 'reset') AND l.expires_at > clock_timestamp())
    """
)


class PostgresCredentials:
    """What changing passwords and making links reads and writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def password_hash(self, user_id: int) -> str | None:
        """Return the hash of a user's password."""
        async with self._database.transaction() as connection:
            return await stored_passwords.password_hash(connection, user_id)

    async def count_try(self, user_id: int, address: str | None) -> CountedTry:
        """Count a try as a failure of the account, unless it is locked."""
        async with self._database.transaction() as connection:
            return await sign_in_failures.count_try(connection, user_id, address)

    async def set_password(self, user_id: int, password_hash: str, *, instead_of: str | None = None) -> bool:
        """Store a password: sessions, failures and links for another one end.

        Return False if it is not ``instead_of`` any more.
        """
        async with self._database.transaction() as connection:
            return await stored_passwords.set_password(connection, user_id, password_hash, instead_of=instead_of)

    async def add_link(self, user_id: int, purpose: LinkPurpose, token: Token) -> Link:
        """Store a link; one for the same that was not used ends. Errors: Conflict if the user is not active."""
        async with self._database.transaction() as connection:
            return await one_time_links.add_link(connection, user_id, purpose, token)

    async def add_first_link(self, user: str, token: Token) -> Link | None:
        """Store a link for a user's first password.

        Return None if the user has a password already, or a link for one that holds, or is not active.
        """
        async with self._database.transaction() as connection:
            user_id = (await connection.execute(_LACKS, {"name": user})).scalar_one_or_none()
            if user_id is None:
                return None
            # Of two processes that start at the same time the second one must not end the link of the first one.
            await one_time_links.lock_user(connection, user_id)
            if (await connection.execute(_LACKS, {"name": user})).scalar_one_or_none() is None:
                return None
            return await one_time_links.add_link(connection, user_id, LinkPurpose.SETUP, token)
