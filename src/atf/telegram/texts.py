"""What the bot says, in the languages that it has."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from atf.notifications.texts import PACKAGES, Texts, installed_languages

TEXT_PACKAGES: Final = (*PACKAGES, "atf.telegram")


@lru_cache(maxsize=64)
def bot_texts(language: str) -> Texts:
    """Return the bot's texts in a language, English where it has none."""
    return Texts(language, TEXT_PACKAGES)


def bot_languages() -> tuple[str, ...]:
    """Return the languages that the bot speaks, English among them."""
    return installed_languages(TEXT_PACKAGES)
