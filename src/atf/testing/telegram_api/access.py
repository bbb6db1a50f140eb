"""Which chat and which message a call is about, and whether the bot may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from atf.testing.telegram_api.calls import Call
from atf.testing.telegram_api.refusals import Refusal, bad_request, forbidden, too_many_requests
from atf.testing.telegram_chat_records import ChatRecord
from atf.testing.telegram_messages import Message
from atf.testing.telegram_payloads import ChatKind
from atf.testing.telegram_world import TelegramWorld

_SPOKEN: Final = {ChatKind.GROUP: "group", ChatKind.SUPERGROUP: "supergroup"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gives back, with a word on it at times, and what it was about.

    ``is_effect`` is False for questions.
    """

    result: Any
    chat_id: int | None = None
    text: str = ""
    message: Message | None = None
    is_effect: bool = True
    description: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        body: dict[str, Any] = {"ok": True, "result": self.result}
        return {**body, "description": self.description} if self.description else body


def find_chat(world: TelegramWorld, call: Call) -> ChatRecord:
    """Return the chat that a call names. Errors: Refusal (400)."""
    named = call.text("chat_id").strip()
    if not named:
        raise bad_request("chat_id is empty")
    chat = world.chats.get(call.integer("chat_id"))
    if chat is None:
        raise bad_request("chat not found")
    return chat


def writable_chat(world: TelegramWorld, call: Call) -> ChatRecord:
    """Return the chat that a call names and the bot may write to. Errors: Refusal (400, 403)."""
    chat = find_chat(world, call)
    check_place(chat)
    if not chat.is_started:
        raise forbidden("bot can't initiate conversation with a user")
    if chat.is_blocked:
        raise forbidden("bot was blocked by the user")
    return chat


def check_place(chat: ChatRecord) -> None:
    """Refuse what needs the bot to be in a chat. Errors: Refusal (400, 403)."""
    if chat.is_deactivated:
        raise forbidden("user is deactivated")
    if chat.upgraded_to is not None:
        description = "Bad Request: group chat was upgraded to a supergroup chat"
        raise Refusal(400, description, {"migrate_to_chat_id": chat.upgraded_to.chat_id})
    if chat.is_kicked:
        raise forbidden(f"bot was kicked from the {_SPOKEN[chat.kind]} chat")
    if chat.has_left:
        raise forbidden(f"bot is not a member of the {_SPOKEN[chat.kind]} chat")


def find_message(world: TelegramWorld, call: Call, spoken: str) -> tuple[ChatRecord, Message]:
    """Return the message that a call names; ``spoken`` is the message's part in the call. Errors: Refusal."""
    chat = find_chat(world, call)
    check_place(chat)
    if not call.integer("message_id"):
        raise bad_request("Message identifier is not specified")
    message = chat.find(call.integer("message_id"))
    if message is None:
        raise bad_request(f"{spoken} not found")
    return chat, message


def charge(world: TelegramWorld, call: Call, chat: ChatRecord) -> None:
    """Count a message or an edit against the limits. Errors: Refusal (429)."""
    seconds = world.meter.refuse(call.method, chat.chat_id, is_group=chat.is_group)
    if seconds is not None:
        raise too_many_requests(seconds)
