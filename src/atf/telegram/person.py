"""Person: who writes to the bot, as Telegram says it. A name or a language from there is anybody's text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """A Telegram account in a chat; in a private chat both have the same id."""

    telegram_id: int
    chat_id: int
    name: str = ""
    language: str = "en"

    @property
    def is_alone(self) -> bool:
        """Whether nobody else reads the chat."""
        return self.chat_id == self.telegram_id
