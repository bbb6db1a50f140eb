"""Registration: how a stranger becomes a user: an e-mail address that is proved by a code, then an approval.

Who asks learns nothing about who is a user here; codes go to the address and nowhere else.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from atf.errors import Unauthenticated
from atf.notifications.message import CODE, OutgoingMessage, Priority
from atf.notifications.notification_job import MessageStore
from atf.security.audit import AuditEvent, AuditLog, AuditOutcome
from atf.security.caller import Origin, Stranger
from atf.security.identities_service import IdentitiesService
from atf.security.one_time import checked_email
from atf.telegram.person import Person
from atf.telegram.texts import bot_texts

REGISTRATION: Final = "registration"
_NAME_PARTS: Final = re.compile(r"[^a-z0-9._-]+")
_NO_CODE: Final = "there is no code for you: begin with /register EMAIL"


class RegistrationMode(StrEnum):
    """Whether strangers become users."""

    CLOSED = "closed"
    APPROVAL = "approval"
    """Once an administrator has let them in."""
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who wants to become a user: a pending one, and the address that is to be proved."""

    user_id: int
    name: str
    email: str


class ApplicantStore(Protocol):
    """Where applicants are kept."""

    async def apply(self, person: Person, name: str, email: str) -> Applicant:
        """Return a person's pending user, made with a name like this if there is none, with this address."""
        ...

    async def find(self, person: Person) -> Applicant | None:
        """Return what a person has applied with."""
        ...

    async def accept(self, person: Person, applicant: Applicant, *, is_let_in: bool) -> None:
        """Link the Telegram account to the user, who is let in or waits for an administrator."""
        ...

    async def unlink(self, person: Person) -> bool:
        """Forget that a Telegram account belongs to a user; return whether it did."""
        ...

    async def administrators(self) -> list[int]:
        """Return the ids of the active administrators."""
        ...


class Registration:
    """Takes applications in."""

    def __init__(
        self,
        mode: RegistrationMode,
        store: ApplicantStore,
        identities: IdentitiesService,
        outbox: MessageStore,
        log: AuditLog,
    ) -> None:
        self._mode = mode
        self._store = store
        self._identities = identities
        self._outbox = outbox
        self._log = log

    @property
    def is_open(self) -> bool:
        """Whether strangers may apply at all."""
        return self._mode is not RegistrationMode.CLOSED

    async def register(self, person: Person, email: str) -> None:
        """Send a code to an address, and keep who asked.

        Errors: InvalidInput at the address; TemporaryFailure after too many codes within an hour.
        """
        applicant = await self._store.apply(person, _name_for(email), checked_email(email))
        made = await self._identities.begin_email(applicant.user_id, applicant.email)
        texts = bot_texts(person.language)
        await self._outbox.add(
            [
                OutgoingMessage(
                    user_id=applicant.user_id,
                    notification_type=CODE,
                    title=texts("bot-code-title"),
                    body=texts("bot-code-body", code=made.digits),
                    dedup_key=f"{CODE}:{uuid.uuid4()}",
                    channels=("email",),
                    priority=Priority.URGENT,
                    payload={"to": applicant.email},
                )
            ]
        )
        await self._record("registration.begin", person, applicant)

    async def verify(self, person: Person, code: str) -> bool:
        """Take the code back; return whether the user is let in now, or waits for an administrator.

        Errors: Unauthenticated if there is no such code; Conflict if the address is another user's.
        """
        applicant = await self._store.find(person)
        if applicant is None:
            raise Unauthenticated(_NO_CODE)
        await self._identities.verify_email(applicant.user_id, applicant.email, code)
        is_let_in = self._mode is RegistrationMode.OPEN
        await self._store.accept(person, applicant, is_let_in=is_let_in)
        await self._record("registration.verify", person, applicant)
        if not is_let_in:
            await self._tell_administrators(applicant)
        return is_let_in

    async def unlink(self, person: Person) -> bool:
        """Forget that a Telegram account belongs to a user; return whether it did."""
        return await self._store.unlink(person)

    async def _tell_administrators(self, applicant: Applicant) -> None:
        await self._outbox.add(
            [
                OutgoingMessage(
                    user_id=user_id,
                    notification_type=REGISTRATION,
                    title=f"{applicant.name} wants to be let in",
                    body=f"{applicant.email} is proved. /admin approve {applicant.name}, or /admin reject "
                    f"{applicant.name}; at the machine: atf users approve {applicant.name}",
                    dedup_key=f"{REGISTRATION}:{applicant.user_id}:{user_id}",
                    channels=None,
                    priority=Priority.HIGH,
                )
                for user_id in await self._store.administrators()
            ]
        )

    async def _record(self, action: str, person: Person, applicant: Applicant) -> None:
        stranger = Stranger(Origin.TELEGRAM, f"telegram:{person.telegram_id}")
        await self._log.record(
            AuditEvent(
                action,
                AuditOutcome.DONE,
                "user",
                str(applicant.user_id),
                applicant.user_id,
                stranger=stranger,
            )
        )


def _name_for(email: str) -> str:
    """Return a user's name made of an address; the store makes it another one if it is taken."""
    made = _NAME_PARTS.sub("-", email.partition("@")[0].lower()).strip(".-_")
    return made[:24] or "user"
