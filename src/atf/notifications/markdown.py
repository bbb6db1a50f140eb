"""Telegram's MarkdownV2: any text, written so that it reads as itself. Pure.

Source: https://core.telegram.org/bots/api#markdownv2-style, in which these characters mean something wherever
they stand, and a backslash before one takes its meaning away.
"""

from __future__ import annotations

from typing import Final

SPECIAL: Final = "\\_*[]()~`>#+-=|{}.!"

_IN_TEXT: Final = str.maketrans({character: f"\\{character}" for character in SPECIAL})
_IN_CODE: Final = str.maketrans({character: f"\\{character}" for character in "\\`"})
_IN_LINK: Final = str.maketrans({character: f"\\{character}" for character in "\\)"})


def escape_markdown(text: str) -> str:
    """Return a text as it is written outside of code and of the address of a link."""
    return text.translate(_IN_TEXT)


def escape_code(text: str) -> str:
    """Return a text as it is written between backticks, one or three."""
    return text.translate(_IN_CODE)


def escape_link(url: str) -> str:
    """Return an address as it is written in the parentheses of ``[text](url)``."""
    return url.translate(_IN_LINK)
