"""What the Bot API sends about people, chats and messages, in shape and spelling; the values are the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from atf.testing.telegram_api.stored_files import StoredFile
from atf.testing.telegram_messages import CallbackQuery, Message, Person


class ChatKind(StrEnum):
    """What sort of chat it is, as the Bot API spells it."""

    PRIVATE = "private"
    GROUP = "group"
    SUPERGROUP = "supergroup"


def seconds(instant: datetime) -> int:
    """Return whole seconds since 1970."""
    return int(instant.timestamp())


def bot_document(bot_id: int, username: str, first_name: str) -> dict[str, Any]:
    """Return the bot as messages name it."""
    return {"id": bot_id, "is_bot": True, "first_name": first_name, "username": username}


def own_document(bot: Mapping[str, Any], *, reads_all: bool) -> dict[str, Any]:
    """Return the bot as ``getMe`` gives it."""
    return {
        **bot,
        "can_join_groups": True,
        "can_read_all_group_messages": reads_all,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


def person_document(person: Person) -> dict[str, Any]:
    """Return a person as updates name one."""
    optional = {
        "last_name": person.last_name,
        "username": person.username,
        "language_code": person.language_code,
    }
    known = {name: value for name, value in optional.items() if value is not None}
    return {"id": person.user_id, "is_bot": False, "first_name": person.first_name, **known}


def chat_document(chat_id: int, kind: ChatKind, person: Person | None, title: str) -> dict[str, Any]:
    """Return a chat as messages name it."""
    if person is None:
        named = {"id": chat_id, "title": title, "type": str(kind)}
        return {**named, "all_members_are_administrators": True} if kind is ChatKind.GROUP else named
    described = person_document(person)
    names = (name for name in ("first_name", "last_name", "username") if name in described)
    return {"id": chat_id, "type": str(kind)} | {name: described[name] for name in names}


def full_chat_document(chat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat as ``getChat`` gives it."""
    return {
        **chat,
        "accent_color_id": 1,
        "max_reaction_count": 11,
        "accepted_gift_types": {
            "unlimited_gifts": True,
            "limited_gifts": True,
            "unique_gifts": True,
            "premium_subscription": True,
            "gifts_from_channels": True,
        },
    }


def message_document(
    message: Message, chat: Mapping[str, Any], bot: Mapping[str, Any], *, with_reply: bool = True
) -> dict[str, Any]:
    """Return a message as it looks now."""
    author = dict(bot) if message.author is None else person_document(message.author)
    document: dict[str, Any] = {
        "message_id": message.message_id,
        "from": author,
        "chat": dict(chat),
        "date": seconds(message.sent_at),
        **message.service,
    }
    if message.edited_at is not None:
        document["edit_date"] = seconds(message.edited_at)
    if with_reply and message.reply_to is not None:
        document["reply_to_message"] = message_document(message.reply_to, chat, bot, with_reply=False)
    document |= _file_fields(message) | _text_fields(message)
    if message.markup is not None and "inline_keyboard" in message.markup:
        document["reply_markup"] = dict(message.markup)
    return document


def callback_document(query: CallbackQuery, chat: Mapping[str, Any], bot: Mapping[str, Any]) -> dict[str, Any]:
    """Return the press of a button; a message that is gone has date 0."""
    message: dict[str, Any] = {"chat": dict(chat), "message_id": query.message.message_id, "date": 0}
    if not query.message.is_deleted:
        message = message_document(query.message, chat, bot)
    return {
        "id": query.query_id,
        "from": person_document(query.person),
        "message": message,
        "chat_instance": str(-7_000_000_000 - abs(chat["id"])),
        "data": query.data,
    }


def member_document(
    chat: Mapping[str, Any], bot: Mapping[str, Any], person: Person, at: datetime, *, was: str, now: str
) -> dict[str, Any]:
    """Return how the bot's place in a chat changed: blocked, put out, let in again."""
    return {
        "chat": dict(chat),
        "from": person_document(person),
        "date": seconds(at),
        "old_chat_member": _member(bot, was),
        "new_chat_member": _member(bot, now),
    }


def file_document(stored: StoredFile) -> dict[str, Any]:
    """Return a file as ``getFile`` gives it."""
    return {**_file(stored), "file_path": stored.path}


def _member(bot: Mapping[str, Any], status: str) -> dict[str, Any]:
    member = {"user": dict(bot), "status": status}
    return {**member, "until_date": 0} if status == "kicked" else member


def _file(stored: StoredFile) -> dict[str, Any]:
    return {
        "file_id": stored.file_id,
        "file_unique_id": stored.unique_id,
        "file_size": len(stored.content),
    }


def _file_fields(message: Message) -> dict[str, Any]:
    if message.photo is not None:
        size = {"width": message.photo.width, "height": message.photo.height}
        return {"photo": [{**_file(message.photo), **size}]}
    if message.document is not None:
        named = {"file_name": message.document.name, "mime_type": message.document.mime_type}
        return {"document": {**named, **_file(message.document)}}
    return {}


def _text_fields(message: Message) -> dict[str, Any]:
    if not message.text:
        return {}
    names = ("caption", "caption_entities") if message.has_file else ("text", "entities")
    fields: dict[str, Any] = {names[0]: message.text}
    if message.entities:
        fields[names[1]] = [dict(entity) for entity in message.entities]
    return fields
