"""CredentialsService: passwords and one-time links of users who are known; who may call it is decided before."""

from __future__ import annotations

from typing import Final, Protocol

from atf.errors import Conflict, Unauthenticated
from atf.security.account_store import CountedTry
from atf.security.audit import AuditEvent, AuditLog, AuditOutcome
from atf.security.one_time import Link, LinkPurpose
from atf.security.password import Passwords, checked_password
from atf.security.tokens import Token, new_token

_NOT_CHANGED: Final = "the present password is wrong, or it was tried too often: wait a while"


class CredentialStore(Protocol):
    """Passwords and links in the database, by whose clock everything expires."""

    async def password_hash(self, user_id: int) -> str | None:
        """Return the hash of a user's password."""
        ...

    async def count_try(self, user_id: int, address: str | None) -> CountedTry:
        """Count a try as a failure of the account, unless it is locked."""
        ...

    async def set_password(self, user_id: int, password_hash: str, *, instead_of: str | None = None) -> bool:
        """Store a password: sessions, failures and links for another one end.

        Return False if it is not ``instead_of`` any more.
        """
        ...

    async def add_link(self, user_id: int, purpose: LinkPurpose, token: Token) -> Link:
        """Store a link; one for the same that was not used ends. Errors: Conflict if the user is not active."""
        ...

    async def add_first_link(self, user: str, token: Token) -> Link | None:
        """Store a link for a user's first password.

        Return None if the user has a password already, or a link for one that holds, or is not active.
        """
        ...


class CredentialsService:
    """Changes passwords and makes links."""

    def __init__(self, store: CredentialStore, passwords: Passwords, log: AuditLog) -> None:
        self._store = store
        self._passwords = passwords
        self._log = log

    async def change_password(self, user_id: int, present: str, wanted: str) -> None:
        """Set another password; all sessions of the user end, this one too.

        Errors: InvalidInput at the wanted one; Unauthenticated if the present one is wrong or was tried too
                often.
        """
        checked_password(wanted)
        counted = await self._store.count_try(user_id, None)
        stored = await self._store.password_hash(user_id)
        is_right = await self._passwords.verify(stored, present)
        if not is_right or counted.locked_until is not None or stored is None:
            raise await self._refused(user_id, counted)
        hashed = await self._passwords.hash(wanted)
        if not await self._store.set_password(user_id, hashed, instead_of=stored):
            raise await self._refused(user_id, counted)

    async def replace_password(self, user_id: int, wanted: str) -> None:
        """Set a password without asking for the present one; all sessions of the user end.

        Errors: InvalidInput.
        """
        hashed = await self._passwords.hash(checked_password(wanted))
        await self._store.set_password(user_id, hashed)

    async def make_password_link(self, user_id: int, purpose: LinkPurpose | None = None) -> Link:
        """Make a link by which a password is set, the first or another one; the last such link ends.

        ``purpose``: None for the one that fits. Errors: Conflict if the user is not active, or if a first
        password is wanted and there is one.
        """
        has_password = await self._store.password_hash(user_id) is not None
        fitting = LinkPurpose.RESET if has_password else LinkPurpose.SETUP
        if purpose is LinkPurpose.SETUP and has_password:
            raise Conflict("this user has a password already; a link for another one has the purpose reset")
        wanted = purpose or fitting
        return await self._store.add_link(user_id, wanted, new_token(wanted.token_kind))

    async def make_account_link(self, user_id: int) -> Link:
        """Make a link by which an account elsewhere becomes known as the user's; the last such link ends.

        Errors: Conflict if the user is not active.
        """
        return await self._store.add_link(user_id, LinkPurpose.LINK, new_token(LinkPurpose.LINK.token_kind))

    async def _refused(self, user_id: int, counted: CountedTry) -> Unauthenticated:
        reason = "wrong password" if counted.locked_until is None else "locked out"
        event = AuditEvent("password.change", AuditOutcome.REFUSED, "password", str(user_id), user_id, reason)
        await self._log.record(event)
        return Unauthenticated(_NOT_CHANGED)
