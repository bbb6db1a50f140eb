"""Reply: what the bot answers: a text, buttons under it, a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from atf.telegram.rich_text import RichText, rich

LONGEST_BUTTON_DATA: Final = 64
"""Bytes that Telegram keeps of what a button stands for."""


@dataclass(frozen=True, slots=True)
class Button:
    """A button: its words, and the command that it stands for, without the slash."""

    label: str
    command: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.command.encode()) <= LONGEST_BUTTON_DATA:
            raise ValueError(f"a button stands for 1 to {LONGEST_BUTTON_DATA} bytes, got {self.command!r}")


Keyboard = tuple[tuple[Button, ...], ...]
"""Rows of buttons."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. ``photo``: a PNG, with the text under it. ``alert``: shown over the chat at a press.

    ``menu``: the language in which Telegram is to show the person an administrator's menu from now on.
    """

    text: RichText
    keyboard: Keyboard = ()
    photo: bytes | None = None
    alert: str | None = None
    document: tuple[str, bytes] | None = None
    menu: str | None = None

    @classmethod
    def of(cls, text: RichText | str, *rows: tuple[Button, ...]) -> Reply:
        """Return an answer of a text, and of buttons in rows."""
        return cls(rich(text), rows)
