"""One-time links as SQL, within somebody's transaction."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import Conflict
from atf.security.account_store import TokenOwner
from atf.security.one_time import Link, LinkPurpose
from atf.security.role import Role
from atf.security.session import StoredToken, TokenState
from atf.security.tokens import Token

# Whoever makes or uses a link of a user waits for who does so already.
_LOCK_USER: Final = text("SELECT name, is_active FROM users WHERE id = :user_id FOR NO KEY UPDATE")
_LOCK_USER_OF: Final = text(
    """
    SELECT id FROM users WHERE id = (SELECT user_id FROM one_time_links WHERE id = :id AND purpose = :purpose)
    FOR NO KEY UPDATE
    """
)
_FIND: Final = text(
    """
    SELECT l.hash, l.expires_at, l.used_at IS NOT NULL AS is_used, u.id AS user_id, u.name, u.role, u.is_active,
           clock_timestamp() AS now
    FROM one_time_links l JOIN users u ON u.id = l.user_id
    WHERE l.id = :id AND l.purpose = :purpose
    """
)
_END: Final = text(
    "DELETE FROM one_time_links WHERE user_id = :user_id AND purpose = :purpose AND used_at IS NULL"
)
_ADD: Final = text(
    """
    INSERT INTO one_time_links (id, user_id, purpose, hash, expires_at)
    VALUES (:id, :user_id, :purpose, :hash, clock_timestamp() + CAST(:lifetime AS interval)) RETURNING expires_at
    """
)
_USE: Final = text("UPDATE one_time_links SET used_at = clock_timestamp() WHERE id = :id")


async def lock_user(connection: AsyncConnection, user_id: int) -> Row[Any] | None:
    """Return a user's name and whether the user is active, while nobody else makes or uses a link of the user."""
    return (await connection.execute(_LOCK_USER, {"user_id": user_id})).first()


async def add_link(connection: AsyncConnection, user_id: int, purpose: LinkPurpose, token: Token) -> Link:
    """Store a link; one for the same that was not used ends. Errors: Conflict if the user is not active."""
    user = await lock_user(connection, user_id)
    if user is None or not user.is_active:
        raise Conflict("only an active user gets a link; let the user in with: atf users approve")
    await connection.execute(_END, {"user_id": user_id, "purpose": purpose})
    values = {"id": token.id, "user_id": user_id, "purpose": purpose, "hash": token.digest}
    added = await connection.execute(_ADD, {**values, "lifetime": purpose.lifetime})
    return Link(purpose, user.name, token, added.scalar_one())


async def link_owner(connection: AsyncConnection, token: Token) -> TokenOwner:
    """Return whose a link is, and whether it holds."""
    row = (await connection.execute(_FIND, {"id": token.id, "purpose": token.kind})).first()
    if row is None:
        return TokenOwner(TokenState.UNKNOWN)
    stored = StoredToken(row.hash, row.expires_at, row.is_used, is_user_active=row.is_active)
    return TokenOwner(stored.state(token, row.now), row.user_id, row.name, Role(row.role))


async def use_link(connection: AsyncConnection, token: Token) -> TokenOwner:
    """Use a link up, if it holds; of those who do so at the same time the first one does."""
    await connection.execute(_LOCK_USER_OF, {"id": token.id, "purpose": token.kind})
    owner = await link_owner(connection, token)
    if owner.state is TokenState.GOOD:
        await connection.execute(_USE, {"id": token.id})
    return owner
