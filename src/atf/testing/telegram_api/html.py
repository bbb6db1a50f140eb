"""Text with the tags that Telegram knows, and its complaints about others.

Byte offsets in refusals are those of the text as it was sent, in UTF-8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from atf.testing.telegram_api.formatted import Entity, FormattedBuilder, FormattedText, link_entity
from atf.testing.telegram_api.refusals import Refusal, bad_request

_STYLES: Final = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "code": "code",
    "pre": "pre",
}
_TAGS: Final = frozenset({*_STYLES, "a", "blockquote", "tg-emoji"})
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_REFERENCE: Final = re.compile(r"&(?:#x(?P<hex>[0-9a-fA-F]+)|#(?P<decimal>[0-9]+)|(?P<name>[A-Za-z]+));?")
_TAG_NAME: Final = re.compile(r"[^\s>]*")
_ATTRIBUTE_NAME: Final = re.compile(r"[^\s=>/\"']*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9.\-]*")
_SPACE: Final = re.compile(r"\s*")


def parse_html(source: str) -> FormattedText:
    """Return the text without its tags. Errors: Refusal for unknown, unclosed and crossed tags."""
    return _Html(source).parse()


@dataclass(slots=True)
class _Open:
    name: str
    argument: str
    offset: int
    written: int


class _Html:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._open: list[_Open] = []
        self._built = FormattedBuilder()

    def parse(self) -> FormattedText:
        while self._at < len(self._source):
            if self._source.startswith("</", self._at):
                self._end_tag()
            elif self._source[self._at] == "<":
                self._start_tag()
            else:
                self._character()
        if self._open:
            raise _error(f'Can\'t find end tag corresponding to start tag "{self._open[-1].name}"')
        return self._built.text()

    def _character(self) -> None:
        char, self._at = _decoded(self._source, self._at)
        self._built.write(char)

    # --- tags that begin ---

    def _start_tag(self) -> None:
        began_at = self._at
        self._at += 1
        name = self._take(_TAG_NAME).lower()
        if self._is_over:
            raise self._error_at("Unclosed start tag", began_at)
        if name not in _TAGS:
            raise self._error_at(f'Unsupported start tag "{name}"', began_at)
        argument = ""
        while True:
            self._take(_SPACE)
            if self._is_over:
                raise self._error_at("Unclosed start tag", began_at)
            if self._source[self._at] == ">":
                break
            argument = self._attribute(name, began_at) or argument
        self._at += 1
        if name == "span" and argument != "spoiler":
            raise self._error_at('Tag "span" must have class "tg-spoiler"', began_at)
        self._open.append(_Open(name, argument, self._built.units, self._built.written))

    def _attribute(self, tag: str, began_at: int) -> str:
        """Return what matters of the next attribute, empty if it says nothing about this tag."""
        name = self._take(_ATTRIBUTE_NAME)
        if not name:
            raise self._error_at(f'Empty attribute name in the tag "{tag}"', began_at)
        self._take(_SPACE)
        if self._is_over:
            raise self._error_at(f'Unclosed start tag "{tag}"', began_at)
        if self._source[self._at] != "=":
            return "1" if (tag, name) == ("blockquote", "expandable") else ""
        self._at += 1
        self._take(_SPACE)
        if self._is_over:
            raise self._error_at(f'Unclosed start tag "{tag}"', began_at)
        return _argument(tag, name, self._value(began_at))

    def _value(self, began_at: int) -> str:
        quote = self._source[self._at]
        if quote not in {"'", '"'}:
            token_at, value = self._at, self._take(_TOKEN).lower()
            if self._is_over or not (self._source[self._at].isspace() or self._source[self._at] == ">"):
                raise self._error_at("Unexpected end of name token", token_at)
            return value
        self._at += 1
        value = ""
        while not self._is_over and self._source[self._at] != quote:
            char, self._at = _decoded(self._source, self._at)
            value += char
        self._at += 1
        if self._is_over:
            raise self._error_at("Unclosed start tag", began_at)
        return value

    # --- tags that end ---

    def _end_tag(self) -> None:
        began_at = self._at
        if not self._open:
            raise self._error_at("Unexpected end tag", began_at)
        self._at += 2
        name = self._take(_TAG_NAME).lower()
        self._take(_SPACE)
        if self._is_over or self._source[self._at] != ">":
            raise self._error_at("Unclosed end tag", began_at)
        self._at += 1
        opened = self._open.pop()
        if name not in {"", opened.name}:
            raise _error(
                f"Unmatched end tag at byte offset {self._bytes_until(began_at)}, "
                f'expected "</{opened.name}>", found "</{name}>"'
            )
        entity = self._entity(opened)
        if entity is not None and self._built.units > opened.offset:
            self._built.mark(entity, opened.offset)

    def _entity(self, opened: _Open) -> Entity | None:
        if opened.name == "a":
            return link_entity(opened.argument or self._built.since(opened.written))
        if opened.name == "blockquote":
            return {"type": "expandable_blockquote" if opened.argument else "blockquote"}
        if opened.name == "tg-emoji":
            if not opened.argument.isdecimal() or not int(opened.argument):
                raise _error("Invalid custom emoji identifier specified")
            return {"type": "custom_emoji", "custom_emoji_id": opened.argument}
        if opened.name == "code" and opened.argument and self._open and self._open[-1].name == "pre":
            self._open[-1].argument = opened.argument
            return None
        kind = _STYLES[opened.name]
        has_language = opened.name == "pre" and opened.argument
        return {"type": kind, "language": opened.argument} if has_language else {"type": kind}

    # --- reading ---

    @property
    def _is_over(self) -> bool:
        return self._at >= len(self._source)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._source, self._at)
        taken = match.group() if match else ""
        self._at += len(taken)
        return taken

    def _bytes_until(self, position: int) -> int:
        return len(self._source[:position].encode())

    def _error_at(self, reason: str, position: int) -> Refusal:
        return _error(f"{reason} at byte offset {self._bytes_until(position)}")


def _argument(tag: str, name: str, value: str) -> str:
    if (tag, name) in {("a", "href"), ("tg-emoji", "emoji-id")}:
        return value
    if (tag, name) == ("code", "class") and value.startswith("language-"):
        return value.removeprefix("language-")
    if (tag, name) == ("span", "class") and value.startswith("tg-"):
        return value.removeprefix("tg-")
    return "1" if (tag, name) == ("blockquote", "expandable") else ""


def _decoded(source: str, at: int) -> tuple[str, int]:
    """Return the character at a position, references resolved, and the position after it."""
    match = _REFERENCE.match(source, at)
    if match is None:
        return source[at], at + 1
    if (name := match["name"]) is not None:
        char = _NAMED.get(name, "")
    else:
        code = int(match["hex"], 16) if match["hex"] is not None else int(match["decimal"])
        char = chr(code) if 0 < code < 0x10FFFF and not 0xD800 <= code <= 0xDFFF else ""
    return (char, match.end()) if char else (source[at], at + 1)


def _error(reason: str) -> Refusal:
    return bad_request(f"Can't parse entities: {reason}")
