"""TokensService: API tokens of users and tokens of services; who may call it is decided before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from atf.errors import NotFound
from atf.security.scope import OF_SERVICES, OF_USERS, Scope, checked_scopes
from atf.security.tokens import Token, TokenKind, checked_days, checked_token_name, new_token, token_id_in

USUAL_DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is known of a token without having it; ``shown``: how it begins."""

    id: str
    shown: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewTokenRecord:
    """A token that was made: the only time that it is seen whole."""

    token: Token
    record: TokenRecord


class TokenStore(Protocol):
    """API and service tokens in the database; ``user_id`` is None for those of services."""

    async def add(
        self, user_id: int | None, token: Token, name: str, scopes: frozenset[Scope], lifetime: timedelta
    ) -> TokenRecord:
        """Store a token."""
        ...

    async def list_tokens(self, user_id: int | None) -> Sequence[TokenRecord]:
        """Return all tokens, the newest first; those that are revoked or expired, too."""
        ...

    async def revoke(self, user_id: int | None, token_id: str) -> TokenRecord | None:
        """End a token for good; None if there is no such one. One that has ended stays as it is."""
        ...


class TokensService:
    """Makes, lists and revokes tokens."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store

    async def add_token(
        self, user_id: int, name: str, scopes: Collection[str], days: int = USUAL_DAYS
    ) -> NewTokenRecord:
        """Make a token by which programs act for a user, within scopes.

        Errors: InvalidInput that names the field.
        """
        return await self._add(user_id, TokenKind.API, name, checked_scopes(scopes, OF_USERS), days)

    async def list_tokens(self, user_id: int) -> Sequence[TokenRecord]:
        """Return a user's tokens, the newest first."""
        return await self._store.list_tokens(user_id)

    async def revoke_token(self, user_id: int, token_id: str) -> TokenRecord:
        """End a user's token for good, from its next use on; its id, or what is shown of it. Errors: NotFound."""
        return await self._revoke(user_id, token_id)

    async def add_service_token(
        self, name: str, scopes: Collection[str], days: int = USUAL_DAYS
    ) -> NewTokenRecord:
        """Make a token by which a service calls another one.

        Errors: InvalidInput that names the field.
        """
        return await self._add(None, TokenKind.SERVICE, name, checked_scopes(scopes, OF_SERVICES), days)

    async def list_service_tokens(self) -> Sequence[TokenRecord]:
        """Return the tokens of services, the newest first."""
        return await self._store.list_tokens(None)

    async def revoke_service_token(self, token_id: str) -> TokenRecord:
        """End a service's token for good, from its next use on. Errors: NotFound."""
        return await self._revoke(None, token_id)

    async def _add(
        self, user_id: int | None, kind: TokenKind, name: str, scopes: frozenset[Scope], days: int
    ) -> NewTokenRecord:
        token, lifetime = new_token(kind), checked_days(days)
        record = await self._store.add(user_id, token, checked_token_name(name), scopes, lifetime)
        return NewTokenRecord(token, record)

    async def _revoke(self, user_id: int | None, token_id: str) -> TokenRecord:
        found = token_id_in(token_id)
        record = None if found is None else await self._store.revoke(user_id, found)
        if record is None:  # not repeated: it may be a whole token
            raise NotFound("there is no such token; `atf tokens list` shows those there are")
        return record
