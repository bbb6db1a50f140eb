"""IdentitiesService: proves that an e-mail address is a user's; who may call it is decided before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from atf.errors import Conflict, TemporaryFailure, Unauthenticated
from atf.security.audit import AuditEvent, AuditLog, AuditOutcome
from atf.security.one_time import (
    CODES_PER_HOUR,
    Code,
    CodeState,
    IdentityKind,
    checked_email,
    code_digest,
    new_code,
)

_NO_CODE: Final = "this code is wrong, or it does not hold any more: ask for a new one"
_HOUR_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Identity:
    """What a user is known by elsewhere, and since when that is proven."""

    kind: IdentityKind
    value: str
    verified_at: datetime


class IdentityStore(Protocol):
    """Identities and codes in the database, by whose clock they expire."""

    async def add_code(self, user_id: int, email: str, digest: bytes) -> datetime | None:
        """Store a code and return until when it holds; None if the user had too many within the last hour.

        Codes for the same address that the user had before end.
        """
        ...

    async def try_code(self, user_id: int, email: str, digest: bytes) -> CodeState:
        """Judge a try and count it; of a right one the code is used up and the identity stored."""
        ...

    async def list_identities(self, user_id: int) -> Sequence[Identity]:
        """Return what a user is known by, the oldest first."""
        ...


class IdentitiesService:
    """Makes codes and takes them back."""

    def __init__(self, store: IdentityStore, log: AuditLog) -> None:
        self._store = store
        self._log = log

    async def begin_email(self, user_id: int, email: str) -> Code:
        """Make a code for whoever reads what comes to an address; the caller sends it there, and nowhere else.

        Errors: InvalidInput at the address; TemporaryFailure if the user had too many within the last hour.
        """
        code, checked = new_code(), checked_email(email)
        expires_at = await self._store.add_code(user_id, checked, code_digest(user_id, checked, code))
        if expires_at is None:
            await self._record("identity.begin", user_id, "too many codes within an hour")
            raise TemporaryFailure(
                f"at most {CODES_PER_HOUR} codes an hour are sent to one user; wait a while",
                retry_after_seconds=_HOUR_SECONDS,
            )
        return Code(code, expires_at)

    async def verify_email(self, user_id: int, email: str, code: str) -> None:
        """Take a code back: the address is the user's from then on.

        Errors: InvalidInput at the address; Unauthenticated if the code does not hold; Conflict if the address is
                another user's.
        """
        checked = checked_email(email)
        state = await self._store.try_code(user_id, checked, code_digest(user_id, checked, code.strip()))
        if state is CodeState.RIGHT:
            return
        await self._record("identity.verify", user_id, str(state))
        if state is CodeState.TAKEN:
            raise Conflict(f"{checked} belongs to another user")
        raise Unauthenticated(_NO_CODE)

    async def list_identities(self, user_id: int) -> Sequence[Identity]:
        """Return what a user is known by, the oldest first."""
        return await self._store.list_identities(user_id)

    async def _record(self, action: str, user_id: int, reason: str) -> None:
        event = AuditEvent(action, AuditOutcome.REFUSED, "identity", None, user_id, reason)
        await self._log.record(event)
