"""Messages that the bot changes or deletes, and its answers to presses of buttons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from atf.testing.telegram_api.access import Outcome, charge, check_place, find_message
from atf.testing.telegram_api.calls import Call
from atf.testing.telegram_api.formatted import FormattedText
from atf.testing.telegram_api.markup import read_inline_markup
from atf.testing.telegram_api.refusals import bad_request
from atf.testing.telegram_api.texts import caption_of, read_caption, read_text
from atf.testing.telegram_chat_records import ChatRecord
from atf.testing.telegram_messages import CallbackAnswer, Message
from atf.testing.telegram_world import TelegramWorld

_NOT_MODIFIED: Final = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current"
    " content and reply markup of the message"
)
_DELETABLE: Final = timedelta(hours=48)
_LONGEST_ANSWER: Final = 200


def edit_message_text(world: TelegramWorld, call: Call) -> Outcome:
    """Change a text; its buttons go unless they are sent again."""
    text, markup = read_text(call), read_inline_markup(call)
    chat, message = _editable(world, call)
    if message.has_file:
        raise bad_request("There is no text in the message to edit")
    return _edit(world, call, chat, message, text, markup)


def edit_message_caption(world: TelegramWorld, call: Call) -> Outcome:
    """Change the caption of a file; its buttons go unless they are sent again."""
    caption, markup = read_caption(call), read_inline_markup(call)
    chat, message = _editable(world, call)
    if not message.has_file:
        raise bad_request("There is no caption in the message to edit")
    return _edit(world, call, chat, message, caption, markup)


def edit_message_reply_markup(world: TelegramWorld, call: Call) -> Outcome:
    """Change the buttons, or take them away."""
    markup = read_inline_markup(call)
    chat, message = _editable(world, call)
    return _edit(world, call, chat, message, message.body, markup)


def edit_message_media(world: TelegramWorld, call: Call) -> Outcome:
    """Put another file, or a file in place of a text; the caption comes with it."""
    markup, media = read_inline_markup(call), call.document("media", "input media")
    if not isinstance(media, dict):
        raise bad_request("Can't parse InputMedia: media not found")
    kind = media.get("type")
    if kind not in {"photo", "document"}:
        raise bad_request(f'Can\'t parse InputMedia: type "{kind}" is unsupported')
    caption = caption_of(media.get("caption", ""), media.get("parse_mode", ""), media.get("caption_entities"))
    chat, message = _editable(world, call)
    stored = world.files.of_reference(call, str(media.get("media", "")), None, kind)
    is_same = stored in {message.photo, message.document}
    _check_modified(message, caption, markup, is_same_file=is_same)
    _charge_edit(world, call, chat)
    message.photo, message.document = (stored, None) if kind == "photo" else (None, stored)
    return _changed(chat, message, caption, markup)


def delete_message(world: TelegramWorld, call: Call) -> Outcome:
    """Delete a message for everybody."""
    chat, message = find_message(world, call, "message to delete")
    is_old = world.now - message.sent_at > _DELETABLE
    if is_old or message.service or (chat.is_group and not message.is_from_bot):
        raise bad_request("message can't be deleted")
    message.is_deleted = True
    return Outcome(True, chat.chat_id, message.text, message)


def answer_callback_query(world: TelegramWorld, call: Call) -> Outcome:
    """Say something to who pressed a button; once, and soon."""
    query = world.queries.get(call.text("callback_query_id"))
    if len(call.text("text")) > _LONGEST_ANSWER:
        raise bad_request("MESSAGE_TOO_LONG")
    lifetime = world.query_lifetime.total_seconds()
    if query is None or query.answer is not None or world.monotonic() - query.pressed_at > lifetime:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    query.answer = CallbackAnswer(call.text("text"), call.flag("show_alert"), call.text("url"))
    return Outcome(True, query.message.chat_id, query.answer.text, query.message)


def _editable(world: TelegramWorld, call: Call) -> tuple[ChatRecord, Message]:
    chat, message = find_message(world, call, "message to edit")
    check_place(chat)
    has_keyboard = message.markup is not None and "inline_keyboard" not in message.markup
    if not message.is_from_bot or has_keyboard or message.service:
        raise bad_request("Message can't be edited")
    return chat, message


def _edit(
    world: TelegramWorld,
    call: Call,
    chat: ChatRecord,
    message: Message,
    body: FormattedText,
    markup: Mapping[str, Any] | None,
) -> Outcome:
    _check_modified(message, body, markup, is_same_file=True)
    _charge_edit(world, call, chat)
    if call.text("parse_mode"):
        message.parse_mode = call.text("parse_mode")
    return _changed(chat, message, body, markup)


def _check_modified(
    message: Message, body: FormattedText, markup: Mapping[str, Any] | None, *, is_same_file: bool
) -> None:
    if is_same_file and message.body == body and message.markup == markup:
        raise bad_request(_NOT_MODIFIED)


def _charge_edit(world: TelegramWorld, call: Call, chat: ChatRecord) -> None:
    if world.meter.limits.edits_count:
        charge(world, call, chat)


def _changed(
    chat: ChatRecord, message: Message, body: FormattedText, markup: Mapping[str, Any] | None
) -> Outcome:
    message.markup = markup
    chat.rewrite(message, body)
    return Outcome(chat.message_payload(message), chat.chat_id, body.text, message)
