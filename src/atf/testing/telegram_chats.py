"""What people do in chats with the bot: write, press buttons, block it, put it out, upgrade their group."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from atf.testing.telegram_api.calls import Upload
from atf.testing.telegram_api.formatted import FormattedText
from atf.testing.telegram_api.stored_files import StoredFile
from atf.testing.telegram_chat_records import ChatRecord
from atf.testing.telegram_messages import CallbackQuery, Message, Person
from atf.testing.telegram_payloads import (
    callback_document,
    member_document,
    person_document,
    seconds,
)


class Chat(ChatRecord):
    """One chat with the bot, and what the people in it do; ``by`` is one of them, else the first."""

    # --- what people write ---

    async def say(self, text: str, *, by: Person | None = None, reply_to: Message | None = None) -> Message:
        """Write a text or a command. The bot of a group sees commands, replies to it and its own name alone."""
        self.is_started = True
        return self._write(FormattedText(text).with_found(), by, reply_to)

    async def send_photo(
        self, content: bytes, *, caption: str = "", by: Person | None = None, name: str = "photo.jpg"
    ) -> Message:
        """Send a picture. Errors: Refusal if it is none."""
        photo = self.world.files.keep_photo(Upload(name, content))
        return self._write(FormattedText(caption).with_found(), by, None, photo=photo)

    async def send_document(
        self, content: bytes, name: str, *, caption: str = "", by: Person | None = None
    ) -> Message:
        """Send a file."""
        document = self.world.files.keep_document(Upload(name, content))
        return self._write(FormattedText(caption).with_found(), by, None, document=document)

    async def forward(
        self, text: str, origin: Person, *, by: Person | None = None, written_at: datetime | None = None
    ) -> Message:
        """Forward what somebody wrote elsewhere."""
        date = seconds(written_at or self.world.now)
        source = person_document(origin)
        service = {
            "forward_origin": {"type": "user", "sender_user": source, "date": date},
            "forward_from": source,
            "forward_date": date,
        }
        return self._write(FormattedText(text).with_found(), by, None, service=service)

    async def edit(self, message: Message, text: str) -> Message:
        """Edit what a person wrote, text or caption. Errors: ValueError for a message of the bot."""
        if message.author is None:
            raise ValueError("people cannot edit what the bot wrote")
        self.rewrite(message, FormattedText(text).with_found())
        self.tell_bot("edited_message", message)
        return message

    async def delete(self, message: Message) -> None:
        """Delete a message for both sides; the bot is not told."""
        message.is_deleted = True
        self.world.changes.tell()

    def _write(
        self,
        body: FormattedText,
        by: Person | None,
        reply_to: Message | None,
        *,
        photo: StoredFile | None = None,
        document: StoredFile | None = None,
        service: Mapping[str, Any] | None = None,
    ) -> Message:
        message = Message(
            self.chat_id,
            self.next_message_id(),
            by or self.members[0],
            self.world.now,
            body,
            photo=photo,
            document=document,
            reply_to=reply_to,
            service=service or {},
        )
        self.add(message)
        if self._is_seen(message):
            self.tell_bot("message", message)
        return message

    def _is_seen(self, message: Message) -> bool:
        if self.is_kicked or self.has_left or self.upgraded_to is not None:
            return False
        if not self.is_group or self.world.reads_all or message.service:
            return True
        name = self.world.bot["username"]
        command, _, addressee = message.text.partition(" ")[0].partition("@")
        is_for_bot = command.startswith("/") and addressee.lower() in {"", name.lower()}
        is_reply = message.reply_to is not None and message.reply_to.is_from_bot
        return is_for_bot or is_reply or f"@{name}".lower() in message.text.lower()

    # --- buttons ---

    async def press(
        self,
        wanted: str,
        *,
        message: Message | None = None,
        by: Person | None = None,
        is_stale: bool = False,
    ) -> CallbackQuery:
        """Press a button by its label or its data: of a message, or of the newest one that has it.

        ``is_stale``: the data of a button that is not there any more, as an app shows it that has not caught up.
        Errors: ValueError if there is no such button, or one that sends nothing to the bot.
        """
        message = message or self._newest_with(wanted)
        button = message.find_button(wanted)
        data = button.data if button is not None else (wanted if is_stale else None)
        if data is None:
            raise ValueError(f"no button {wanted!r} that sends anything; there are {message.labels}")
        query = self.world.new_query(by or self.members[0], message, data)
        return await self.replay(query)

    async def replay(self, query: CallbackQuery) -> CallbackQuery:
        """Let the bot have the press of a button, once more if it had it: the same identifier, a new update."""
        self.world.put({"callback_query": callback_document(query, self.payload, self.world.bot)})
        return query

    def _newest_with(self, wanted: str) -> Message:
        for message in reversed(self.messages):
            if message.find_button(wanted) is not None:
                return message
        raise ValueError(
            f"no message has a button {wanted!r}; the buttons are {[m.labels for m in self.messages]}"
        )

    # --- the bot's place in the chat ---

    async def block(self) -> None:
        """Block the bot: it can write no more, and is told."""
        self._move_bot("member", "kicked")
        self.is_blocked = True

    async def unblock(self) -> None:
        """Let the bot write again."""
        self.is_blocked = False
        self._move_bot("kicked", "member")

    async def deactivate(self) -> None:
        """Delete the person's account; the bot is not told."""
        self.is_deactivated = True
        self.world.changes.tell()

    async def kick_bot(self, *, by: Person | None = None) -> None:
        """Put the bot out of a group."""
        self._move_bot("member", "kicked", by)
        self.is_kicked = True

    async def add_bot(self, *, by: Person | None = None) -> None:
        """Let the bot into a group, or in again."""
        was = "kicked" if self.is_kicked else "left"
        self.is_kicked = self.has_left = False
        self._move_bot(was, "member", by)

    async def upgrade_to(self, supergroup: Chat) -> None:
        """End a group, which goes on as a supergroup. The bot is told in both."""
        await self.serve({"migrate_to_chat_id": supergroup.chat_id})
        await supergroup.serve({"migrate_from_chat_id": self.chat_id})
        self.upgraded_to = supergroup
        self.world.changes.tell()

    async def serve(self, fields: Mapping[str, Any], *, by: Person | None = None) -> Message:
        """Write a service message with fields of the Bot API, such as a new title."""
        return self._write(FormattedText(), by, None, service=fields)

    def _move_bot(self, was: str, now: str, by: Person | None = None) -> None:
        person = by or self.members[0]
        world = self.world
        world.put(
            {"my_chat_member": member_document(self.payload, world.bot, person, world.now, was=was, now=now)}
        )
        world.changes.tell()
