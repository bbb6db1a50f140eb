"""API and service tokens as SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row, text

from atf.security.scope import Scope
from atf.security.tokens import Token, TokenKind, token_shown
from atf.security.tokens_service import TokenRecord
from atf.storage.database import Database

_RECORD: Final = "id, user_id, name, scopes, created_at, expires_at, last_used_at, revoked_at"
_ADD: Final = text(
    f"""
    INSERT INTO api_tokens (id, user_id, name, hash, scopes, expires_at)
    VALUES (:id, :user_id, :name, :hash, :scopes, now() + CAST(:lifetime AS interval))
    RETURNING {_RECORD}
    """
)
_LIST: Final = text(
    f"""
    SELECT {_RECORD} FROM api_tokens WHERE user_id IS NOT DISTINCT FROM CAST(:user_id AS integer)
    ORDER BY created_at DESC, id
    """
)
_REVOKE: Final = text(
    f"""
    UPDATE api_tokens SET revoked_at = coalesce(revoked_at, clock_timestamp())
    WHERE id = :id AND user_id IS NOT DISTINCT FROM CAST(:user_id AS integer) RETURNING {_RECORD}
    """
)


class PostgresTokens:
    """The table of tokens that programs have."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, user_id: int | None, token: Token, name: str, scopes: frozenset[Scope], lifetime: timedelta
    ) -> TokenRecord:
        """Store a token."""
        values = {
            "id": token.id,
            "user_id": user_id,
            "name": name,
            "hash": token.digest,
            "scopes": [scope.value for scope in Scope if scope in scopes],
            "lifetime": lifetime,
        }
        async with self._database.transaction() as connection:
            return _record((await connection.execute(_ADD, values)).one())

    async def list_tokens(self, user_id: int | None) -> Sequence[TokenRecord]:
        """Return all tokens, the newest first; those that are revoked or expired, too."""
        async with self._database.transaction() as connection:
            return [_record(row) for row in await connection.execute(_LIST, {"user_id": user_id})]

    async def revoke(self, user_id: int | None, token_id: str) -> TokenRecord | None:
        """End a token for good; None if there is no such one. One that has ended stays as it is."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_REVOKE, {"id": token_id, "user_id": user_id})).first()
        return None if row is None else _record(row)


def _record(row: Row[Any]) -> TokenRecord:
    kind = TokenKind.SERVICE if row.user_id is None else TokenKind.API
    return TokenRecord(
        row.id,
        token_shown(kind, row.id),
        row.name,
        tuple(map(Scope, row.scopes)),
        row.created_at,
        row.expires_at,
        row.last_used_at,
        row.revoked_at,
    )
