"""Accounts, sessions and whose a token is, as SQL.

What may happen once happens under a lock of the row that it happens to; sessions are locked before their tokens.
Whether something has expired is asked of the database's clock, after whatever had to be waited for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import Conflict
from atf.security.account_store import Account, CountedTry, TokenOwner
from atf.security.caller import Stranger
from atf.security.one_time import IdentityKind
from atf.security.role import Role
from atf.security.scope import Scope
from atf.security.session import (
    ACCESS_LIFETIME,
    REFRESH_LIFETIME,
    SESSION_LIFETIME,
    SessionEnd,
    SignedIn,
    StoredToken,
    TokenPair,
    TokenState,
)
from atf.security.tokens import Token, TokenKind
from atf.storage import sign_in_failures
from atf.storage.database import Database
from atf.storage.identities_repository import remember
from atf.storage.one_time_links import link_owner, use_link
from atf.storage.stored_passwords import password_hash, set_password
from atf.storage.users_repository import find_user

# Whoever changes the password or disables the user waits for this, and then ends this session, too.
_STILL_SO: Final = text(
    """
    SELECT 1 FROM users u JOIN user_passwords p ON p.user_id = u.id
    WHERE u.id = :user_id AND u.is_active AND p.hash = :hash FOR SHARE
    """
)
_REHASH: Final = text("UPDATE user_passwords SET hash = :new WHERE user_id = :user_id AND hash = :old")
_OPEN: Final = text(
    """
    INSERT INTO user_sessions (user_id, origin, address, expires_at)
    VALUES (:user_id, :origin, :address, clock_timestamp() + CAST(:lifetime AS interval)) RETURNING id
    """
)
_ADD_TOKEN: Final = text(
    """
    INSERT INTO session_tokens (id, session_id, kind, hash, expires_at)
    SELECT :id, :session_id, :kind, :hash, least(clock_timestamp() + CAST(:lifetime AS interval), s.expires_at)
    FROM user_sessions s WHERE s.id = :session_id
    RETURNING expires_at
    """
)
# Two statements: after a wait for the session the second one sees what was done meanwhile.
_LOCK_SESSION: Final = text(
    """
    SELECT id FROM user_sessions
    WHERE id = (SELECT session_id FROM session_tokens WHERE id = :id AND kind = :kind) FOR UPDATE
    """
)
_SESSION_TOKEN: Final = text(
    """
    SELECT t.hash, t.expires_at, t.used_at IS NOT NULL AS is_used, s.ended_at IS NOT NULL AS is_ended,
           t.session_id, u.id AS user_id, u.name, u.role, u.is_active, NULL AS scopes, clock_timestamp() AS now
    FROM session_tokens t JOIN user_sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
    WHERE t.id = :id AND t.kind = :kind
    """
)
_API_TOKEN: Final = text(
    """
    SELECT t.hash, t.expires_at, false AS is_used, t.revoked_at IS NOT NULL AS is_ended, u.id AS user_id,
           coalesce(u.name, t.name) AS name, u.role, coalesce(u.is_active, true) AS is_active, t.scopes,
           clock_timestamp() AS now
    FROM api_tokens t LEFT JOIN users u ON u.id = t.user_id
    WHERE t.id = :id AND (t.user_id IS NULL) = :of_service
    """
)
# To the minute: a write a call would cost more than the call.
_NOTE_USE: Final = text(
    """
    UPDATE api_tokens SET last_used_at = clock_timestamp()
    WHERE id = :id AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')
    """
)
_USE: Final = text("UPDATE session_tokens SET used_at = clock_timestamp() WHERE id = :id")
# What was used is kept as long as its session, so that it is known when it comes again; the rest may go.
_PRUNE_TOKENS: Final = text(
    "DELETE FROM session_tokens WHERE session_id = :session_id AND kind = 'access' AND expires_at < now()"
)
_PRUNE_SESSIONS: Final = text(
    """
    DELETE FROM user_sessions WHERE id IN (
      SELECT id FROM user_sessions WHERE expires_at < now() LIMIT 100 FOR UPDATE SKIP LOCKED)
    """
)
_END: Final = text(
    """
    UPDATE user_sessions SET ended_at = clock_timestamp(), end_reason = :reason
    WHERE id = :id AND ended_at IS NULL
    """
)


class PostgresAccounts:
    """What signing in reads and writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_account(self, name: str) -> Account | None:
        """Return a user, whatever the status, with the hash of the password."""
        async with self._database.transaction() as connection:
            user = await find_user(connection, name)
            # Asked for nobody's, too: who is not here is refused after the same statements.
            hashed = await password_hash(connection, 0 if user is None else user.id)
        return None if user is None else Account(user, hashed)

    async def count_try(self, user_id: int, address: str | None) -> CountedTry:
        """Count a try as a failure of the account and of the address, unless one of them is locked."""
        async with self._database.transaction() as connection:
            return await sign_in_failures.count_try(connection, user_id, address)

    async def forgive(self, counted: CountedTry) -> None:
        """Take a try back that was right: of the account all failures are forgotten, of the address this one."""
        async with self._database.transaction() as connection:
            await sign_in_failures.forgive(connection, counted)

    async def rehash(self, user_id: int, old: str, new: str) -> None:
        """Replace a hash by another one of the same password, unless the password was changed meanwhile."""
        async with self._database.transaction() as connection:
            await connection.execute(_REHASH, {"user_id": user_id, "old": old, "new": new})

    async def open_session(
        self, user_id: int, password_hash: str, stranger: Stranger, tokens: TokenPair
    ) -> tuple[datetime, datetime] | None:
        """Store a session and return when its tokens expire.

        Return None if the password is not that one any more, or the user is disabled.
        """
        async with self._database.transaction() as connection:
            still_so = await connection.execute(_STILL_SO, {"user_id": user_id, "hash": password_hash})
            if still_so.first() is None:
                return None
            await connection.execute(_PRUNE_SESSIONS)
            values = {"user_id": user_id, "origin": stranger.origin, "address": stranger.address}
            opened = await connection.execute(_OPEN, {**values, "lifetime": SESSION_LIFETIME})
            return await _add_pair(connection, opened.scalar_one(), tokens)

    async def rotate(self, token: Token, tokens: TokenPair) -> tuple[TokenOwner, SignedIn | None]:
        """Use a refresh token up for a new pair; one that was used already ends its session."""
        async with self._database.transaction() as connection:
            row = await _locked(connection, token)
            owner = _owner(row, token)
            if row is None:
                return owner, None
            if owner.state is TokenState.USED:
                await connection.execute(_END, {"id": row.session_id, "reason": SessionEnd.REUSED})
            if owner.state is not TokenState.GOOD:
                return owner, None
            await connection.execute(_USE, {"id": token.id})
            await connection.execute(_PRUNE_TOKENS, {"session_id": row.session_id})
            expiries = await _add_pair(connection, row.session_id, tokens)
            return owner, SignedIn(row.user_id, row.name, tokens, *expiries)

    async def end_session(self, token: Token) -> TokenOwner:
        """End the session of an access or refresh token."""
        async with self._database.transaction() as connection:
            row = await _locked(connection, token)
            owner = _owner(row, token)
            if row is not None and owner.state is TokenState.GOOD:
                await connection.execute(_END, {"id": row.session_id, "reason": SessionEnd.SIGNED_OUT})
            return owner

    async def owner_of(self, token: Token) -> TokenOwner:
        """Return whose an access, API or service token is; the use of one that holds is noted."""
        if token.kind is TokenKind.ACCESS:
            async with self._database.transaction() as connection:
                found = await connection.execute(_SESSION_TOKEN, {"id": token.id, "kind": token.kind})
                return _owner(found.first(), token)
        async with self._database.transaction() as connection:
            values = {"id": token.id, "of_service": token.kind is TokenKind.SERVICE}
            owner = _owner((await connection.execute(_API_TOKEN, values)).first(), token)
            if owner.state is TokenState.GOOD:
                await connection.execute(_NOTE_USE, {"id": token.id})
            return owner

    async def owner_of_link(self, token: Token) -> TokenOwner:
        """Return whose a link is; it stays as it is."""
        async with self._database.transaction() as connection:
            return await link_owner(connection, token)

    async def set_password_by(self, token: Token, password_hash: str) -> TokenState:
        """Use a link up and store the password: sessions, failures and other links of the user end."""
        async with self._database.transaction() as connection:
            owner = await use_link(connection, token)
            if owner.state is TokenState.GOOD and owner.user_id is not None:
                await set_password(connection, owner.user_id, password_hash)
            return owner.state

    async def add_identity_by(self, token: Token, kind: IdentityKind, value: str) -> TokenState:
        """Use a link up and store what else its user is known by.

        Errors: Conflict if another user is known by it; the link still holds then.
        """
        async with self._database.transaction() as connection:
            owner = await use_link(connection, token)
            if owner.state is not TokenState.GOOD or owner.user_id is None:
                return owner.state
            if not await remember(connection, owner.user_id, kind, value):
                raise Conflict(f"this {kind} account belongs to another user")
            return owner.state


async def _locked(connection: AsyncConnection, token: Token) -> Row[Any] | None:
    """Return a session's token while nobody else does anything with that session."""
    values = {"id": token.id, "kind": token.kind}
    await connection.execute(_LOCK_SESSION, values)
    return (await connection.execute(_SESSION_TOKEN, values)).first()


async def _add_pair(connection: AsyncConnection, session_id: int, tokens: TokenPair) -> tuple[datetime, datetime]:
    access = await _add_token(connection, session_id, tokens.access, ACCESS_LIFETIME)
    return access, await _add_token(connection, session_id, tokens.refresh, REFRESH_LIFETIME)


async def _add_token(connection: AsyncConnection, session_id: int, token: Token, lifetime: timedelta) -> datetime:
    values = {"id": token.id, "kind": token.kind, "hash": token.digest}
    added = await connection.execute(_ADD_TOKEN, {**values, "session_id": session_id, "lifetime": lifetime})
    expires_at: datetime = added.scalar_one()
    return expires_at


def _owner(row: Row[Any] | None, token: Token) -> TokenOwner:
    """Return what is found of a token; whose it would be, too, if it is not good, for the audit log."""
    if row is None:
        return TokenOwner(TokenState.UNKNOWN)
    stored = StoredToken(row.hash, row.expires_at, row.is_used, row.is_ended, row.is_active)
    role = None if row.role is None else Role(row.role)
    scopes = None if row.scopes is None else frozenset(map(Scope, row.scopes))
    return TokenOwner(stored.state(token, row.now), row.user_id, row.name, role, scopes)
