"""A letter as messages of Telegram: texts and captions within its bounds, files with what is said of them. Pure.

Telegram counts characters after it has taken the marks away; here UTF-16 units are counted with the marks, which
are never fewer. A text that must be split goes out plain, all of it: a mark that is open at a cut would have to
be closed and opened again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from atf.adapters.channels.letter_text import clean, cut, head, headed, one_line, units
from atf.notifications.channel import Letter
from atf.notifications.message import Attachment

LONGEST_TEXT: Final = 4096
LONGEST_CAPTION: Final = 1024
_SHORT_CAPTION: Final = 200
_SPECIAL: Final = re.compile(r"([_*\[\]()~`>#+\-=|{}.!\\])")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """One message: a plain text, the same as MarkdownV2 if there is that, and the file of which it is said."""

    text: str
    formatted: str | None = None
    attachment: Attachment | None = None


def parts_of(letter: Letter) -> list[Part]:
    """Return the messages of a letter, always the same ones; none if it says nothing.

    The first file has the whole text for its caption if that fits; else it has the title, and the text follows
    behind the last file.
    """
    whole = _whole(letter)
    if not letter.attachments:
        return _texts(whole)
    first, *others = letter.attachments
    rest = [Part("", attachment=one) for one in others]
    if _fits(whole, LONGEST_CAPTION):
        return [Part(whole.text, whole.formatted, first), *rest]
    caption = cut(one_line(letter.title), _SHORT_CAPTION)
    return [Part(caption, attachment=first), *rest, *_texts(whole)]


def split(text: str, longest: int = LONGEST_TEXT) -> list[str]:
    """Return a text in pieces: cut at line ends, else at spaces, else between what are seen as two signs.

    The line end or space at a cut is left out, and so are pieces without anything to be read.
    """
    pieces = []
    while units(text) > longest:
        end = head(text, longest)
        place = _cut_before(text, end)
        pieces.append(text[:place])
        text = text[place + 1 :] if text[place].isspace() else text[place:]
    return [piece for piece in [*pieces, text] if piece.strip()]


def escaped(text: str) -> str:
    """Return a plain text as MarkdownV2 that looks the same."""
    return _SPECIAL.sub(r"\\\1", text)


def _whole(letter: Letter) -> Part:
    text = headed(letter.title, letter.text)
    if letter.formatted is None:
        return Part(text)
    formatted = clean(letter.formatted)
    if text == clean(letter.text):  # it has its title already
        return Part(text, formatted)
    title = f"*{escaped(one_line(letter.title))}*"
    return Part(text, f"{title}\n\n{formatted}" if formatted.strip() else title)


def _texts(whole: Part) -> list[Part]:
    if _fits(whole, LONGEST_TEXT):
        return [whole] if whole.text.strip() else []
    return [Part(piece) for piece in split(whole.text)]


def _fits(whole: Part, longest: int) -> bool:
    shown = "" if whole.formatted is None else _ESCAPED.sub(r"\1", whole.formatted)
    return max(units(whole.text), units(shown)) <= longest


def _cut_before(text: str, end: int) -> int:
    """Return where a piece ends that may have ``end`` characters; short pieces are avoided."""
    for separator in ("\n", " "):
        place = text.rfind(separator, end // 4, end + 1)
        if place > 0:
            return place
    return end
