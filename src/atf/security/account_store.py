"""What signing in needs to know of accounts, and to keep of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from atf.security.caller import Stranger
from atf.security.lockout import Failures
from atf.security.one_time import IdentityKind
from atf.security.role import Role
from atf.security.scope import Scope
from atf.security.session import SignedIn, TokenPair, TokenState
from atf.security.tokens import Token
from atf.security.user import User

NOBODY: Final = 0
"""Whose failures are counted where there is no such user: what is done is the same."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user with the hash of the password, if there is one."""

    user: User
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class CountedTry:
    """A try that has been counted as a failure; ``before``: what was counted before it, by whom it counts for.

    ``locked_until``: it came while nobody may try, and is not counted; ``is_address_locked``: from there.
    """

    before: Mapping[str, Failures]
    locked_until: datetime | None = None
    is_address_locked: bool = False


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """What is found of a token, and whose it is, if it is somebody's."""

    state: TokenState
    user_id: int | None = None
    name: str = ""
    role: Role | None = None
    scopes: frozenset[Scope] | None = None


class AccountStore(Protocol):
    """Passwords, tries and sessions in the database, by whose clock everything expires."""

    async def find_account(self, name: str) -> Account | None:
        """Return a user, whatever the status, with the hash of the password."""
        ...

    async def count_try(self, user_id: int, address: str | None) -> CountedTry:
        """Count a try as a failure of the account and of the address, unless one of them is locked."""
        ...

    async def forgive(self, counted: CountedTry) -> None:
        """Take a try back that was right: of the account all failures are forgotten, of the address this one."""
        ...

    async def rehash(self, user_id: int, old: str, new: str) -> None:
        """Replace a hash by another one of the same password, unless the password was changed meanwhile."""
        ...

    async def open_session(
        self, user_id: int, password_hash: str, stranger: Stranger, tokens: TokenPair
    ) -> tuple[datetime, datetime] | None:
        """Store a session and return when its tokens expire.

        Return None if the password is not that one any more, or the user is disabled.
        """
        ...

    async def rotate(self, token: Token, tokens: TokenPair) -> tuple[TokenOwner, SignedIn | None]:
        """Use a refresh token up for a new pair; one that was used already ends its session."""
        ...

    async def end_session(self, token: Token) -> TokenOwner:
        """End the session of an access or refresh token."""
        ...

    async def owner_of(self, token: Token) -> TokenOwner:
        """Return whose an access, API or service token is; the use of one that holds is noted."""
        ...

    async def owner_of_link(self, token: Token) -> TokenOwner:
        """Return whose a link is; it stays as it is."""
        ...

    async def set_password_by(self, token: Token, password_hash: str) -> TokenState:
        """Use a link up and store the password: sessions, failures and other links of the user end."""
        ...

    async def add_identity_by(self, token: Token, kind: IdentityKind, value: str) -> TokenState:
        """Use a link up and store what else its user is known by.

        Errors: Conflict if another user is known by it; the link still holds then.
        """
        ...
