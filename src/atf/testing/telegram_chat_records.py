"""A chat as Telegram keeps it, and as the people in it see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from atf.testing.telegram_api.changes import PATIENCE, Changes
from atf.testing.telegram_api.formatted import FormattedText
from atf.testing.telegram_api.stored_files import FileStore
from atf.testing.telegram_messages import AcceptedCall, CallbackQuery, Message, Person, Version
from atf.testing.telegram_payloads import ChatKind, chat_document, message_document

T = TypeVar("T")


class World(Protocol):
    """What chats need of the Telegram that they are on."""

    changes: Changes
    files: FileStore
    accepted: list[AcceptedCall]
    bot: Mapping[str, Any]
    reads_all: bool

    @property
    def now(self) -> datetime:
        """The time by the calendar."""

    def next_message_id(self) -> int:
        """Return a number for a message."""

    def put(self, update: Mapping[str, Any]) -> int | None:
        """Add an update for the bot."""

    def new_query(self, person: Person, message: Message, data: str) -> CallbackQuery:
        """Keep the press of a button."""


class ChatRecord:
    """What is in one chat. ``person`` is who the bot talks to, None in groups; ``members`` are the people in it.

    ``all_messages``: of both sides, deleted ones too. ``actions``: what ``sendChatAction`` showed. ``taken``: how
    many of the bot's messages ``next_message`` has given out. The bot's place: ``is_blocked`` by the person,
    ``is_deactivated`` account, ``is_kicked``, ``has_left``, ``upgraded_to``; ``is_started`` is False for people
    who never wrote to it.
    """

    def __init__(
        self, world: World, chat_id: int, kind: ChatKind, members: Sequence[Person], title: str = ""
    ) -> None:
        self.world = world
        self.chat_id = chat_id
        self.kind = kind
        self.title = title
        self.members = list(members)
        self.all_messages: list[Message] = []
        self.actions: list[str] = []
        self.taken = 0
        self.is_started = True
        self.is_blocked = False
        self.is_deactivated = False
        self.is_kicked = False
        self.has_left = False
        self.upgraded_to: ChatRecord | None = None
        self._own_message_id = 0

    # --- what is to be seen ---

    @property
    def person(self) -> Person | None:
        """Who the bot talks to in a private chat."""
        return self.members[0] if self.kind is ChatKind.PRIVATE else None

    @property
    def is_group(self) -> bool:
        """Whether more than one person may be in it."""
        return self.kind is not ChatKind.PRIVATE

    @property
    def payload(self) -> dict[str, Any]:
        """The chat as the Bot API names it."""
        return chat_document(self.chat_id, self.kind, self.person, self.title)

    @property
    def messages(self) -> list[Message]:
        """The bot's messages as they look now, oldest first, without those it deleted."""
        return [message for message in self.all_messages if message.is_from_bot and not message.is_deleted]

    @property
    def history(self) -> list[AcceptedCall]:
        """Every accepted call about this chat, in the order of acceptance."""
        return [call for call in self.world.accepted if call.chat_id == self.chat_id]

    def find(self, message_id: int) -> Message | None:
        """Return a message that is still there."""
        found = (message for message in self.all_messages if message.message_id == message_id)
        return next((message for message in found if not message.is_deleted), None)

    async def next_message(self, within: timedelta = PATIENCE) -> Message:
        """Return the oldest message of the bot that this did not return yet, deleted ones too.

        Errors: AssertionError if none comes within this time.
        """
        message = await self.until(self._untaken, within, what="for a message of the bot")
        self.taken += 1
        return message

    async def next_messages(self, count: int, within: timedelta = PATIENCE) -> list[Message]:
        """Return so many messages as ``next_message`` would one by one, ``within`` for each."""
        return [await self.next_message(within) for _ in range(count)]

    async def until(
        self, condition: Callable[[], T | None], within: timedelta = PATIENCE, *, what: str = ""
    ) -> T:
        """Return what the condition returns as soon as that is true. Errors: AssertionError after this long."""
        return await self.world.changes.until(condition, within, what or "for a condition of a chat")

    async def until_answered(self, query: CallbackQuery, within: timedelta = PATIENCE) -> CallbackQuery:
        """Wait until the bot has answered the press of a button. Errors: AssertionError after this long."""
        await self.until(lambda: query.answer is not None, within, what="for the answer to a button")
        return query

    def _untaken(self) -> Message | None:
        sent = [message for message in self.all_messages if message.is_from_bot and not message.service]
        return sent[self.taken] if len(sent) > self.taken else None

    # --- for the methods of the bot ---

    def next_message_id(self) -> int:
        """Return the number of the next message: supergroups count their own, other chats the account's."""
        if self.kind is not ChatKind.SUPERGROUP:
            return self.world.next_message_id()
        self._own_message_id += 1
        return self._own_message_id

    def add(self, message: Message) -> None:
        """Keep a message."""
        message.versions.append(Version(message.text, message.sent_at))
        self.all_messages.append(message)
        self.world.changes.tell()

    def rewrite(self, message: Message, body: FormattedText) -> None:
        """Change what a message says."""
        message.body = body
        message.edited_at = self.world.now
        message.versions.append(Version(body.text, message.edited_at))
        self.world.changes.tell()

    def message_payload(self, message: Message) -> dict[str, Any]:
        """Return a message of this chat as the Bot API sends it."""
        return message_document(message, self.payload, self.world.bot)

    def tell_bot(self, kind: str, message: Message) -> None:
        """Let the bot have a message, as an update of this kind."""
        self.world.put({kind: self.message_payload(message)})
