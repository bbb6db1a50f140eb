"""What of an update the bot hears: words that a person writes, buttons that a person presses, and nothing else.

What is forwarded, said in a caption, edited or said by another bot is nobody's command.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiogram.types import CallbackQuery, Message, Update, User

from atf.telegram.command_desk import Heard
from atf.telegram.person import Person

ALLOWED_UPDATES = ("message", "callback_query")
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is heard; of a press also its id, and the message under which the button stands."""

    heard: Heard
    press_id: str | None = None
    pressed: Message | None = None


def hearing_of(update: Update, *, groups: bool) -> Hearing | None:
    """Return what is heard of an update, None if that is nothing; ``groups``: whether the bot listens in them."""
    found = _of_message(update.message) if update.message else _of_press(update.callback_query)
    if found is None or (not found.heard.person.is_alone and not groups):
        return None
    return found


def _of_message(message: Message) -> Hearing | None:
    if message.from_user is None or message.text is None or message.forward_origin is not None:
        return None
    if message.from_user.is_bot or message.sender_chat is not None or message.via_bot is not None:
        return None
    return Hearing(Heard(_person(message.from_user, message.chat.id), message.text))


def _of_press(press: CallbackQuery | None) -> Hearing | None:
    if press is None or press.data is None or not isinstance(press.message, Message):
        return None
    heard = Heard(_person(press.from_user, press.message.chat.id), press.data, is_press=True)
    return Hearing(heard, press.id, press.message)


def _person(user: User, chat_id: int) -> Person:
    return Person(user.id, chat_id, user.full_name[:_LONGEST_NAME], user.language_code or "en")
