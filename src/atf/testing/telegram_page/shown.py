"""What the page shows, as JSON: all chats with all their messages as they look now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from atf.testing.telegram_api.commands import seen_commands
from atf.testing.telegram_api.formatted import segments
from atf.testing.telegram_chats import Chat
from atf.testing.telegram_messages import Message
from atf.testing.telegram_world import TelegramWorld

_LAST_REFUSED: Final = 20


def shown_state(world: TelegramWorld) -> dict[str, Any]:
    """Return all that the page shows."""
    return {
        "bot": world.bot["username"],
        "chats": [_chat(world, chat) for chat in world.chats.values()],
        "refused_count": len(world.refused),
        "refused": [
            f"{one.method} to {one.chat_id or 'nobody'}: {one.code} {one.description}"
            for one in reversed(world.refused[-_LAST_REFUSED:])
        ],
        "notice": _notice(world),
    }


def _chat(world: TelegramWorld, chat: Chat) -> dict[str, Any]:
    person = chat.person
    return {
        "id": chat.chat_id,
        "title": chat.title if person is None else person.first_name,
        "is_group": chat.is_group,
        "is_blocked": chat.is_blocked or chat.is_kicked or chat.has_left,
        "action": _action(world, chat),
        "commands": seen_commands(world, chat, chat.members[0]),
        "keyboard": _keyboard(chat),
        "messages": [_message(world, message) for message in chat.all_messages],
    }


def _message(world: TelegramWorld, message: Message) -> dict[str, Any]:
    is_inline = "inline_keyboard" in (message.markup or {})
    rows = message.buttons if is_inline and not message.is_deleted else []
    shown: dict[str, Any] = {
        "id": message.message_id,
        "author": world.bot["username"] if message.author is None else message.author.first_name,
        "is_mine": message.author is not None,
        "is_deleted": message.is_deleted,
        "is_silent": message.is_silent,
        "at": f"{message.sent_at:%H:%M:%S} UTC",
        "edits": len(message.versions) - 1,
        "segments": [
            {"text": text, "styles": [_style(text, style) for style in styles]}
            for text, styles in segments(message.body)
        ],
        "rows": [[{"label": b.label, "data": b.data, "url": b.url} for b in row] for row in rows],
        "reply_to": None if message.reply_to is None else message.reply_to.text,
    }
    if message.photo is not None:
        shown["photo"] = f"/page/files/{message.photo.file_id}"
    if message.document is not None:
        url, kept = f"/page/files/{message.document.file_id}", message.document
        shown["document"] = {"name": kept.name, "bytes": len(kept.content), "url": url}
    if message.service:
        shown["segments"] = [{"text": ", ".join(message.service), "styles": []}, *shown["segments"]]
    return shown


def _style(text: str, style: Mapping[str, Any]) -> dict[str, Any]:
    """Return a style; only what is plainly a page becomes a link."""
    url = style.get("url", text if style["type"] == "url" else "")
    is_page = url.startswith(("http://", "https://"))
    return {"type": style["type"], "url": url} if is_page else {"type": style["type"]}


def _keyboard(chat: Chat) -> list[list[str]]:
    """Return the newest keyboard that replaces that of letters, unless it was taken away since."""
    for message in reversed(chat.messages):
        if message.markup is not None and "keyboard" in message.markup:
            return message.labels
        if message.markup is not None and message.markup.get("remove_keyboard"):
            return []
    return []


def _action(world: TelegramWorld, chat: Chat) -> str:
    """Return what the bot is about, if it has not written since it said so."""
    calls = [call for call in world.accepted if call.chat_id == chat.chat_id]
    return calls[-1].text if calls and calls[-1].method.lower() == "sendchataction" else ""


def _notice(world: TelegramWorld) -> dict[str, Any] | None:
    answers = [call for call in world.accepted if call.method.lower() == "answercallbackquery"]
    return {"number": answers[-1].number, "text": answers[-1].text} if answers else None
