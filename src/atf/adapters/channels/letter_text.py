"""What a letter's text becomes on its way: without what no wire takes, on one line, with a heading, cut."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

ELLIPSIS: Final = "…"
_LINE_ENDS: Final = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]")


def clean(text: str) -> str:
    """Return a text without control characters other than new line and tab, and without halves of characters."""
    whole = _LINE_ENDS.sub("\n", text).encode("utf-8", "replace").decode()
    return "".join(one for one in whole if one in "\n\t" or unicodedata.category(one) != "Cc")


def one_line(text: str) -> str:
    """Return a text on one line, each run of white space as one space."""
    return " ".join(clean(text).split())


def headed(title: str, text: str) -> str:
    """Return title and text as one text, for channels that have no place of its own for a title.

    A text that begins with its title does not get it twice.
    """
    heading, body = one_line(title), clean(text)
    if not heading or one_line(body.partition("\n")[0]) == heading:
        return body
    return f"{heading}\n\n{body}" if body.strip() else heading


def units(text: str) -> int:
    """Return how long a text is in UTF-16 code units: no provider counts more, some count characters."""
    return len(text.encode("utf-16-le", "replace")) // 2


def cut(text: str, longest: int) -> str:
    """Return a text of at most ``longest`` units; one that was longer ends with an ellipsis."""
    if units(text) <= longest:
        return text
    return text[: head(text, longest - 1)].rstrip() + ELLIPSIS


def head(text: str, longest: int) -> int:
    """Return how many characters of a text fit into so many units, not less than one.

    What is seen as one sign stays whole where that is possible: a letter and its accents, a joined emoji.
    """
    end = _fitting(text, longest)
    whole = end
    while whole > 1 and whole < len(text) and _belongs_together(text[whole - 1], text[whole]):
        whole -= 1
    return max(1, whole if whole > 1 else end)


def _fitting(text: str, longest: int) -> int:
    used = 0
    for place, one in enumerate(text):
        used += 2 if ord(one) > 0xFFFF else 1
        if used > longest:
            return place
    return len(text)


_JOINER: Final = "\u200d"


def _belongs_together(before: str, after: str) -> bool:
    is_skin = "\U0001f3fb" <= after <= "\U0001f3ff"
    is_mark = unicodedata.category(after) in {"Mn", "Me", "Mc"}
    return is_mark or is_skin or _JOINER in {before, after}
