"""Messages that the bot sends."""

from __future__ import annotations

from atf.testing.telegram_api.access import Outcome, charge, writable_chat
from atf.testing.telegram_api.calls import Call
from atf.testing.telegram_api.formatted import FormattedText
from atf.testing.telegram_api.markup import read_markup
from atf.testing.telegram_api.refusals import bad_request
from atf.testing.telegram_api.stored_files import StoredFile
from atf.testing.telegram_api.texts import read_caption, read_text
from atf.testing.telegram_chat_records import ChatRecord
from atf.testing.telegram_messages import Message
from atf.testing.telegram_world import TelegramWorld

_ACTIONS = frozenset(
    {
        "typing",
        "upload_photo",
        "record_video",
        "upload_video",
        "record_voice",
        "upload_voice",
        "upload_document",
        "choose_sticker",
        "find_location",
        "record_video_note",
        "upload_video_note",
    }
)


def send_message(world: TelegramWorld, call: Call) -> Outcome:
    """Send a text."""
    text = read_text(call)
    return _send(world, call, writable_chat(world, call), text)


def send_photo(world: TelegramWorld, call: Call) -> Outcome:
    """Send a picture."""
    caption, chat = read_caption(call), writable_chat(world, call)
    return _send(world, call, chat, caption, photo=world.files.of_call(call, "photo", "photo"))


def send_document(world: TelegramWorld, call: Call) -> Outcome:
    """Send a file."""
    caption, chat = read_caption(call), writable_chat(world, call)
    return _send(world, call, chat, caption, document=world.files.of_call(call, "document", "document"))


def send_chat_action(world: TelegramWorld, call: Call) -> Outcome:
    """Show that something is under way; no limit counts this."""
    chat = writable_chat(world, call)
    if call.text("action") not in _ACTIONS:
        raise bad_request("Wrong parameter action in request")
    chat.actions.append(call.text("action"))
    return Outcome(True, chat.chat_id, call.text("action"))


def _send(
    world: TelegramWorld,
    call: Call,
    chat: ChatRecord,
    body: FormattedText,
    *,
    photo: StoredFile | None = None,
    document: StoredFile | None = None,
) -> Outcome:
    markup, reply_to = read_markup(call), _reply_to(chat, call)
    charge(world, call, chat)
    message = Message(
        chat.chat_id,
        chat.next_message_id(),
        None,
        world.now,
        body,
        parse_mode=call.text("parse_mode"),
        markup=markup,
        photo=photo,
        document=document,
        reply_to=reply_to,
        is_silent=call.flag("disable_notification"),
    )
    chat.add(message)
    return Outcome(chat.message_payload(message), chat.chat_id, body.text, message)


def _reply_to(chat: ChatRecord, call: Call) -> Message | None:
    asked = call.document("reply_parameters", "reply parameters") or {}
    message_id = asked.get("message_id") or call.integer("reply_to_message_id")
    if not message_id:
        return None
    message = chat.find(message_id)
    may_lack = asked.get("allow_sending_without_reply") or call.flag("allow_sending_without_reply")
    if message is None and not may_lack:
        raise bad_request("message to be replied not found")
    return message
