"""RichText: what the bot says, as plain text and as Telegram's MarkdownV2 at once: nothing is ever unescaped.

Pure. Texts of users and markets go in as they are; only the functions here make them bold or code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from atf.notifications.foreign_text import visible_text
from atf.notifications.markdown import escape_code, escape_markdown

LONGEST_TEXT = 3900
"""Characters of one message, as Telegram takes 4,096 and counts some of them twice."""
_CUT = "\n…"


@dataclass(frozen=True, slots=True)
class RichText:
    """A text twice: as it reads, and as Telegram is to format it."""

    plain: str
    markdown: str

    def __add__(self, other: RichText | str) -> RichText:
        more = rich(other)
        return RichText(self.plain + more.plain, self.markdown + more.markdown)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return not self.plain.strip()


EMPTY = RichText("", "")


def rich(text: RichText | str) -> RichText:
    """Return a text, of anybody's, that reads as it is."""
    if isinstance(text, RichText):
        return text
    shown = visible_text(text)
    return RichText(shown, escape_markdown(shown))


def bold(text: str) -> RichText:
    """Return a text in bold."""
    inner = rich(text)
    return RichText(inner.plain, f"*{inner.markdown}*") if inner.plain.strip() else inner


def code(text: str) -> RichText:
    """Return a text in letters of one width, which is copied by a touch."""
    shown = visible_text(text)
    return RichText(shown, f"`{escape_code(shown)}`") if shown.strip() else rich(shown)


def block(text: str) -> RichText:
    """Return lines in letters of one width."""
    shown = visible_text(text)
    return RichText(shown, f"```\n{escape_code(shown)}\n```")


def lines(parts: Iterable[RichText | str]) -> RichText:
    """Return texts, each on a line of its own; those that would make a message too long are left out."""
    found, separator = EMPTY, ""
    for part in parts:
        longer = found + separator + part
        if len(longer.plain) > LONGEST_TEXT - len(_CUT):
            return found + _CUT
        found, separator = longer, "\n"
    return found
