"""What the Telegram bot remembers, as SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import Conflict
from atf.notifications.message import OutgoingMessage
from atf.security.caller import Caller, Origin
from atf.security.one_time import IdentityKind
from atf.security.role import Role
from atf.storage.database import Database
from atf.storage.identities_repository import remember
from atf.storage.message_adding import add_messages
from atf.storage.stored_text import storable_text
from atf.telegram.house import Interrupted, NewUpdate, Reader
from atf.telegram.person import Person
from atf.telegram.registration import Applicant

_KEPT: Final = timedelta(days=3)
"""Telegram itself forgets after a day what nobody has asked for."""
_WAITS: Final = timedelta(minutes=10)
_LONGEST_WORDS: Final = 200

_BEGIN: Final = text(
    """
    INSERT INTO telegram_updates (update_id, telegram_id, chat_id, language, words)
    VALUES (:update_id, :telegram_id, :chat_id, :language, :words) ON CONFLICT DO NOTHING RETURNING 1
    """
)
_END: Final = text(
    "UPDATE telegram_updates SET ended_at = now(), words = '' WHERE update_id = :update_id AND ended_at IS NULL"
)
_PRUNE: Final = text(
    """
    DELETE FROM telegram_updates WHERE update_id IN (
      SELECT update_id FROM telegram_updates WHERE begun_at < now() - CAST(:kept AS interval)
      LIMIT 100 FOR UPDATE SKIP LOCKED)
    """
)
_INTERRUPTED: Final = text(
    """
    SELECT update_id, telegram_id, chat_id, language, words FROM telegram_updates
    WHERE ended_at IS NULL ORDER BY update_id
    """
)
_WAIT: Final = text(
    """
    INSERT INTO telegram_conversations (telegram_id, chat_id, kind, nonce, command, expires_at)
    VALUES (:telegram_id, :chat_id, :kind, :nonce, :command, now() + CAST(:waits AS interval))
    ON CONFLICT (telegram_id, chat_id, kind) DO UPDATE
    SET nonce = EXCLUDED.nonce, command = EXCLUDED.command, expires_at = EXCLUDED.expires_at
    """
)
_TAKE: Final = text(
    """
    DELETE FROM telegram_conversations
    WHERE telegram_id = :telegram_id AND chat_id = :chat_id AND kind = :kind
      AND (CAST(:nonce AS text) IS NULL OR nonce = :nonce)
    RETURNING command, expires_at > now() AS holds
    """
)
_CALLER: Final = text(
    """
    SELECT u.id, u.name, u.role FROM user_identities i JOIN users u ON u.id = i.user_id
    WHERE i.kind = 'telegram' AND i.value = :value AND u.is_active
    """
)
_GREET: Final = text(
    """
    INSERT INTO telegram_strangers AS s (telegram_id) VALUES (:telegram_id)
    ON CONFLICT (telegram_id) DO UPDATE SET greeted_at = now() WHERE s.greeted_at < now() - interval '30 days'
    RETURNING 1
    """
)
_LANGUAGE: Final = text("SELECT language FROM msg_preferences WHERE user_id = :user_id")
_ONE_AT_A_TIME: Final = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('telegram_registrations', :telegram_id))"
)
_APPLY_AGAIN: Final = text(
    """
    UPDATE telegram_registrations SET email = :email, language = :language WHERE telegram_id = :telegram_id
    RETURNING user_id
    """
)
_APPLY: Final = text(
    """
    INSERT INTO telegram_registrations (telegram_id, user_id, email, language)
    VALUES (:telegram_id, :user_id, :email, :language) RETURNING user_id
    """
)
_ADD_PENDING: Final = text(
    """
    INSERT INTO users (name, role, is_active, approved_at) VALUES (:name, 'trader', false, NULL)
    ON CONFLICT (name) DO NOTHING RETURNING id
    """
)
_USER_NAME: Final = text("SELECT name FROM users WHERE id = :id")
_APPLICANT: Final = text(
    """
    SELECT r.user_id, u.name, r.email FROM telegram_registrations r JOIN users u ON u.id = r.user_id
    WHERE r.telegram_id = :telegram_id
    """
)
_FORGET_APPLICANT: Final = text("DELETE FROM telegram_registrations WHERE telegram_id = :telegram_id")
_SPEAK: Final = text(
    """
    INSERT INTO msg_preferences (user_id, language) VALUES (:user_id, :language) ON CONFLICT DO NOTHING
    """
)
_LET_IN: Final = text("UPDATE users SET is_active = true, approved_at = now() WHERE id = :user_id")
_UNLINK: Final = text("DELETE FROM user_identities WHERE kind = 'telegram' AND value = :value")
_ADMINISTRATORS: Final = text("SELECT id FROM users WHERE role = 'admin' AND is_active ORDER BY id")
_READERS: Final = text(
    """
    SELECT u.id AS user_id, COALESCE(p.language, 'en') AS language, p.digest_minutes IS NOT NULL AS has_digest
    FROM users u LEFT JOIN msg_preferences p ON p.user_id = u.id WHERE u.is_active ORDER BY u.id
    """
)
_MOST_NAMESAKES: Final = 100


class PostgresUpdates:
    """Which updates were seen."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, update: NewUpdate) -> bool:
        """Remember an update; return False if it was seen before."""
        values = {
            "update_id": update.update_id,
            "telegram_id": update.person.telegram_id,
            "chat_id": update.person.chat_id,
            "language": update.person.language,
            "words": storable_text(update.words[:_LONGEST_WORDS]),
        }
        async with self._database.transaction() as connection:
            is_new = (await connection.execute(_BEGIN, values)).first() is not None
            await connection.execute(_PRUNE, {"kept": _KEPT})
        return is_new

    async def end(self, update_id: int) -> None:
        """Say that an update was handled."""
        async with self._database.transaction() as connection:
            await connection.execute(_END, {"update_id": update_id})

    async def interrupted(self) -> Sequence[Interrupted]:
        """Return the updates that were begun and have not ended."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_INTERRUPTED)).all()
        return [
            Interrupted(row.update_id, Person(row.telegram_id, row.chat_id, language=row.language), row.words)
            for row in rows
        ]


class PostgresConversations:
    """What the bot waits to hear; each is taken away once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, person: Person, nonce: str, command: str) -> None:
        """Remember a question whose yes does a command, in place of an older one."""
        await self._wait(person, "question", nonce, command)

    async def answer(self, person: Person, nonce: str) -> str | None:
        """Take a question away; return its command, None if there is none (any more)."""
        return await self._take(person, "question", nonce)

    async def expect(self, person: Person, command: str) -> None:
        """Remember that the next message is what a command waits for."""
        await self._wait(person, "expectation", None, command)

    async def expected(self, person: Person) -> str | None:
        """Take away which command waits for a message."""
        return await self._take(person, "expectation", None)

    async def _wait(self, person: Person, kind: str, nonce: str | None, command: str) -> None:
        values = {**_key(person, kind), "nonce": nonce, "command": storable_text(command), "waits": _WAITS}
        async with self._database.transaction() as connection:
            await connection.execute(_WAIT, values)

    async def _take(self, person: Person, kind: str, nonce: str | None) -> str | None:
        async with self._database.transaction() as connection:
            row = (await connection.execute(_TAKE, {**_key(person, kind), "nonce": nonce})).first()
        return row.command if row is not None and row.holds else None


class PostgresPeople:
    """Who is who at Telegram."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def caller(self, person: Person) -> Caller | None:
        """Return the active user that a person is, None if there is none."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_CALLER, {"value": str(person.telegram_id)})).first()
        if row is None:
            return None
        return Caller(row.id, row.name, Role(row.role), Origin.TELEGRAM, f"telegram:{person.telegram_id}")

    async def greet(self, person: Person) -> bool:
        """Remember that a stranger was answered; return whether it is the first time within a month."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_GREET, {"telegram_id": person.telegram_id})).first() is not None

    async def language(self, user_id: int) -> str | None:
        """Return the language that a user has chosen, None if there is none."""
        async with self._database.transaction() as connection:
            found: str | None = (await connection.execute(_LANGUAGE, {"user_id": user_id})).scalar()
        return found


class PostgresMessageBox:
    """The way to people who are not in this chat."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        """Store messages to be delivered."""
        async with self._database.transaction() as connection:
            return await add_messages(connection, messages)

    async def administrators(self) -> Sequence[int]:
        """Return the ids of the active administrators."""
        async with self._database.transaction() as connection:
            return list((await connection.execute(_ADMINISTRATORS)).scalars())

    async def readers(self) -> Sequence[Reader]:
        """Return all active users."""
        async with self._database.transaction() as connection:
            return [Reader(**row._mapping) for row in await connection.execute(_READERS)]


class PostgresApplicants:
    """Who wants to become a user by the bot."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, person: Person, name: str, email: str) -> Applicant:
        """Return a person's pending user, made with a name like this if there is none, with this address."""
        values = {"telegram_id": person.telegram_id, "email": email, "language": person.language}
        async with self._database.transaction() as connection:
            await connection.execute(_ONE_AT_A_TIME, {"telegram_id": person.telegram_id})
            row = (await connection.execute(_APPLY_AGAIN, values)).first()
            if row is None:
                user_id = await _add_pending(connection, name)
                row = (await connection.execute(_APPLY, {**values, "user_id": user_id})).one()
            user = (await connection.execute(_USER_NAME, {"id": row.user_id})).one()
        return Applicant(row.user_id, user.name, email)

    async def find(self, person: Person) -> Applicant | None:
        """Return what a person has applied with."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_APPLICANT, {"telegram_id": person.telegram_id})).first()
        return None if row is None else Applicant(**row._mapping)

    async def accept(self, person: Person, applicant: Applicant, *, is_let_in: bool) -> None:
        """Link the Telegram account to the user, who is let in or waits for an administrator."""
        async with self._database.transaction() as connection:
            await remember(connection, applicant.user_id, IdentityKind.TELEGRAM, str(person.telegram_id))
            await connection.execute(_SPEAK, {"user_id": applicant.user_id, "language": person.language})
            await connection.execute(_FORGET_APPLICANT, {"telegram_id": person.telegram_id})
            if is_let_in:
                await connection.execute(_LET_IN, {"user_id": applicant.user_id})

    async def unlink(self, person: Person) -> bool:
        """Forget that a Telegram account belongs to a user; return whether it did."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_UNLINK, {"value": str(person.telegram_id)})).rowcount == 1

    async def administrators(self) -> list[int]:
        """Return the ids of the active administrators."""
        async with self._database.transaction() as connection:
            return list((await connection.execute(_ADMINISTRATORS)).scalars())


async def _add_pending(connection: AsyncConnection, name: str) -> int:
    """Store a user who waits to be let in; a number is put behind a name that is taken."""
    for number in range(1, _MOST_NAMESAKES):
        spelled = name if number == 1 else f"{name}-{number}"
        row = (await connection.execute(_ADD_PENDING, {"name": spelled})).first()
        if row is not None:
            return int(row.id)
    raise Conflict("too many users have a name like this one; ask an administrator")


def _key(person: Person, kind: str) -> dict[str, object]:
    return {"telegram_id": person.telegram_id, "chat_id": person.chat_id, "kind": kind}
