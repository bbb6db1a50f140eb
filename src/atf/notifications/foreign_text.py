"""Text that others wrote, made harmless for who reads it. Pure.

Controls that move the cursor, turn the reading order round or hide between letters are taken out; what languages
and emoji need stays.
"""

from __future__ import annotations

import re
from typing import Final

_CONTROLS: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f"
"""C0 and C1 but tab and newline: escape sequences, backspaces, NUL."""
_TURNS: Final = "\u202a-\u202e\u2066-\u2069\u206a-\u206f"
"""Bidirectional overrides, embeddings and isolates: ``file\u202egpj.exe`` reads as another name."""
_INVISIBLE: Final = "\u200b\u2060-\u2064\u180e\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""What has no width and no use in a message: two names that look the same would be different ones."""
_JOINERS: Final = "\u200c\u200d"

_TAKEN_OUT: Final = re.compile(f"[{_CONTROLS}{_TURNS}{_INVISIBLE}]")
# Flags of parts of countries, such as Scotland's, are a black flag, tags, and a tag that ends them.
_FLAG: Final = re.compile("(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)")
# Emoji and scripts from Persian to Malayalam need joiners; between or beside ASCII they only hide.
_STRAY_JOINER: Final = re.compile(f"(?<![^\x00-\x7f])[{_JOINERS}]+|[{_JOINERS}]+(?![^\x00-\x7f])")
_LINE_END: Final = re.compile("[ \t]*[\n\u2028\u2029]\\s*|\t+")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SUSPICIOUS: Final = re.compile(f"[{_CONTROLS}{_TURNS}{_INVISIBLE}{_JOINERS}\ud800-\udfff]")


def visible_text(text: str) -> str:
    """Return a text without what a reader cannot see; done twice, it is as done once.

    Kept: newlines, tabs, letters of every script in their own direction, joiners within emoji and scripts that
    need them. A line that ends with CR LF ends with LF.
    """
    if _is_harmless(text) or _SUSPICIOUS.search(text) is None:
        return text
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    kept = "".join(part if _FLAG.fullmatch(part) else _TAKEN_OUT.sub("", part) for part in _FLAG.split(text))
    return _STRAY_JOINER.sub("", kept)


def one_line(text: str) -> str:
    """Return a visible text as one line: a title goes where a line end would begin something else."""
    return text.strip() if _is_harmless(text) else _LINE_END.sub(" ", visible_text(text).strip())


def _is_harmless(text: str) -> bool:
    """Return whether a text is of ASCII's visible characters alone: most are, and these two are quickly told."""
    return text.isascii() and text.isprintable()
