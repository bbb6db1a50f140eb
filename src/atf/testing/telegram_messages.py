"""Messages as Telegram keeps them, and what was asked of the bot's interface, in the order of acceptance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atf.testing.telegram_api.formatted import FormattedText
from atf.testing.telegram_api.stored_files import StoredFile


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account; ``language_code`` is that of the person's app."""

    user_id: int
    first_name: str
    last_name: str | None = None
    username: str | None = None
    language_code: str | None = "en"


@dataclass(frozen=True, slots=True)
class Button:
    """A button under a message: ``data`` goes to the bot, ``url`` opens a page, neither says its label."""

    label: str
    data: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What a message said from a time on."""

    text: str
    since: datetime


@dataclass(slots=True, eq=False)
class Message:
    """A message as it looks now. ``author`` is None for the bot; ``photo`` and ``document`` have the bytes.

    ``versions``: what it said, oldest first. ``service``: fields of service messages, forwards and the like, as
    in the Bot API.
    """

    chat_id: int
    message_id: int
    author: Person | None
    sent_at: datetime
    body: FormattedText
    parse_mode: str = ""
    markup: Mapping[str, Any] | None = None
    photo: StoredFile | None = None
    document: StoredFile | None = None
    reply_to: Message | None = None
    is_silent: bool = False
    is_deleted: bool = False
    edited_at: datetime | None = None
    service: Mapping[str, Any] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)

    @property
    def is_from_bot(self) -> bool:
        """Whether the bot wrote it."""
        return self.author is None

    @property
    def text(self) -> str:
        """What is to be read, without marks: the text, or the caption of a file."""
        return self.body.text

    @property
    def entities(self) -> tuple[Mapping[str, Any], ...]:
        """The styles of the text."""
        return self.body.entities

    @property
    def has_file(self) -> bool:
        """Whether the text is a caption."""
        return self.photo is not None or self.document is not None

    @property
    def buttons(self) -> list[list[Button]]:
        """The rows of buttons under it, or those of the keyboard that it brings."""
        markup = self.markup or {}
        rows = markup.get("inline_keyboard") or markup.get("keyboard") or []
        return [[_button(one) for one in row] for row in rows]

    @property
    def labels(self) -> list[list[str]]:
        """What stands on the buttons."""
        return [[button.label for button in row] for row in self.buttons]

    def find_button(self, wanted: str) -> Button | None:
        """Return the button with this label, or else with this data."""
        buttons = [button for row in self.buttons for button in row]
        by_label = (button for button in buttons if button.label == wanted)
        return next(by_label, next((button for button in buttons if button.data == wanted), None))


@dataclass(frozen=True, slots=True)
class CallbackAnswer:
    """What the bot said to the press of a button: nothing at all, a short notice, or one to be closed."""

    text: str
    is_alert: bool
    url: str


@dataclass(slots=True, eq=False)
class CallbackQuery:
    """The press of a button. ``answer`` is None until the bot answers; ``pressed_at`` in monotonic seconds."""

    query_id: str
    person: Person
    message: Message
    data: str
    pressed_at: float
    answer: CallbackAnswer | None = None


@dataclass(frozen=True, slots=True)
class AcceptedCall:
    """A call that had its effect. ``number`` counts them all from 1; ``at`` is the time in monotonic seconds.

    ``text``: what it said, without marks. ``values``: as they were sent. ``message``: what it made or changed, as
    it looks now.
    """

    number: int
    method: str
    chat_id: int | None
    at: float
    accepted_at: datetime
    text: str
    values: Mapping[str, str]
    message: Message | None


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call that had no effect, and why."""

    method: str
    chat_id: str
    at: float
    code: int
    description: str
    values: Mapping[str, str]


def _button(button: Mapping[str, Any] | str) -> Button:
    if isinstance(button, str):
        return Button(button)
    return Button(button["text"], button.get("callback_data"), button.get("url"))
