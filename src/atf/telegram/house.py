"""House: what the bot is given by whoever wires it: people, conversations, updates, the services of each user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from atf.notifications.message import OutgoingMessage
from atf.security.accounts_service import AccountsService
from atf.security.audit import AuditLog
from atf.security.caller import Caller
from atf.telegram.person import Person
from atf.telegram.platform import Maintenance, Platform
from atf.telegram.user_services import UserServices


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A command that was begun and never ended, as when the process was killed."""

    update_id: int
    person: Person
    words: str


@dataclass(frozen=True, slots=True)
class NewUpdate:
    """Something that Telegram tells: its id, who does it, and the words, as far as it has any."""

    update_id: int
    person: Person
    words: str


class Updates(Protocol):
    """Which updates were seen: none is handled twice, and none is forgotten unheard."""

    async def begin(self, update: NewUpdate) -> bool:
        """Remember an update; return False if it was seen before."""
        ...

    async def end(self, update_id: int) -> None:
        """Say that an update was handled."""
        ...

    async def interrupted(self) -> Sequence[Interrupted]:
        """Return the updates that were begun and have not ended."""
        ...


class Conversations(Protocol):
    """What the bot has asked and waits to hear, by person and chat; it ends by itself after a while."""

    async def ask(self, person: Person, nonce: str, command: str) -> None:
        """Remember a question whose yes does a command, in place of an older one."""
        ...

    async def answer(self, person: Person, nonce: str) -> str | None:
        """Take a question away; return its command, None if there is none (any more)."""
        ...

    async def expect(self, person: Person, command: str) -> None:
        """Remember that the next message is what a command waits for."""
        ...

    async def expected(self, person: Person) -> str | None:
        """Take away which command waits for a message."""
        ...


class People(Protocol):
    """Who is who."""

    async def caller(self, person: Person) -> Caller | None:
        """Return the active user that a person is, None if there is none."""
        ...

    async def greet(self, person: Person) -> bool:
        """Remember that a stranger was answered; return whether it is the first time."""
        ...

    async def language(self, user_id: int) -> str | None:
        """Return the language that a user has chosen, None if there is none."""
        ...


class Registry(Protocol):
    """How strangers become users."""

    async def register(self, person: Person, email: str) -> None:
        """Send a code to an address, and keep who asked. Errors: InvalidInput; Conflict; TemporaryFailure."""
        ...

    async def verify(self, person: Person, code: str) -> bool:
        """Take the code back; return whether the user is let in now, or waits for an administrator.

        Errors: Unauthenticated; Conflict.
        """
        ...

    async def unlink(self, person: Person) -> bool:
        """Forget that a Telegram account belongs to a user; return whether it did."""
        ...


@dataclass(frozen=True, slots=True)
class Reader:
    """An active user who may be told something; ``language``: the chosen one, English if there is none."""

    user_id: int
    language: str
    has_digest: bool


class MessageBox(Protocol):
    """The way to people who are not in this chat."""

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        """Store messages to be delivered."""
        ...

    async def administrators(self) -> Sequence[int]:
        """Return the ids of the active administrators."""
        ...

    async def readers(self) -> Sequence[Reader]:
        """Return all active users."""
        ...


class ServicesOf(Protocol):
    """Gives each user the services behind the gate."""

    def of(self, caller: Caller) -> UserServices:
        """Return the services as a user may use them."""
        ...


@dataclass(frozen=True, slots=True)
class House:
    """All of them."""

    updates: Updates
    conversations: Conversations
    people: People
    registry: Registry
    accounts: AccountsService
    messages: MessageBox
    services: ServicesOf
    log: AuditLog
    platform: Platform
    maintenance: Maintenance
