"""Text with marks for styles, as Telegram reads it: strict ``MarkdownV2``, and the older ``Markdown``.

Byte offsets in refusals are those of the text as it was sent, in UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from atf.testing.telegram_api.formatted import Entity, FormattedBuilder, FormattedText, link_entity
from atf.testing.telegram_api.refusals import Refusal, bad_request

_RESERVED: Final = frozenset("_*[]()~`>#+-=|{}.!\n")
_LAST_ESCAPABLE: Final = chr(126)
# The longer mark of two that begin alike comes first.
_BEGINNINGS: Final = (
    ("__", "underline"),
    ("_", "italic"),
    ("*", "bold"),
    ("~", "strikethrough"),
    ("||", "spoiler"),
    ("```", "pre"),
    ("`", "code"),
    ("![", "custom_emoji"),
    ("[", "text_link"),
)
_ENDS: Final = {kind: mark for mark, kind in _BEGINNINGS} | {"custom_emoji": "]", "text_link": "]"}
_SPOKEN: Final = {
    "underline": "Underline",
    "italic": "Italic",
    "bold": "Bold",
    "strikethrough": "Strikethrough",
    "spoiler": "Spoiler",
    "pre": "Pre",
    "code": "Code",
    "custom_emoji": "CustomEmoji",
    "text_link": "TextUrl",
    "blockquote": "BlockQuote",
}


def parse_markdown_v2(source: str) -> FormattedText:
    """Return the text without its marks. Errors: Refusal for what must be escaped, and for what is not closed."""
    return _MarkdownV2(source).parse()


def parse_markdown(source: str) -> FormattedText:
    """Return the text of the older style, which knows no nesting and no escaping inside of entities."""
    return _Markdown(source).parse()


@dataclass(slots=True)
class _Open:
    kind: str
    began_at: int
    offset: int
    written: int
    language: str = ""

    @property
    def spoken(self) -> str:
        return "PreCode" if self.language else _SPOKEN[self.kind]


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._built = FormattedBuilder()

    def _peek(self, distance: int = 0) -> str:
        return self._source[self._at + distance : self._at + distance + 1]

    def _is_here(self, mark: str) -> bool:
        return self._source.startswith(mark, self._at)

    def _bytes_until(self, position: int) -> int:
        return len(self._source[:position].encode())

    def _take_language(self) -> str:
        """Pass over the name of a language, if one follows, and over one line break after it."""
        end = self._at
        while end < len(self._source) and not self._source[end].isspace() and self._source[end] != "`":
            end += 1
        language = ""
        if end < len(self._source) and self._source[end] != "`":
            language, self._at = self._source[self._at : end], end
        if self._peek() in {"\n", "\r"}:
            both = self._peek(1) in {"\n", "\r"} and self._peek(1) != self._peek()
            self._at += 2 if both else 1
        return language


class _MarkdownV2(_Reader):
    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._open: list[_Open] = []
        self._is_quoting = False

    def parse(self) -> FormattedText:
        while self._at < len(self._source):
            self._step()
        self._end_quote_with_text()
        if self._open:
            raise self._unclosed(self._open[-1])
        return self._built.text()

    def _step(self) -> None:
        char = self._peek()
        if char == "\\" and "\0" < self._peek(1) <= _LAST_ESCAPABLE:
            self._built.write(self._peek(1))
            self._at += 2
        elif not self._is_reserved(char):
            self._built.write(char)
            self._at += 1
        elif self._is_end_of_quote(char):
            self._end_quote_with_line()
        elif self._open and self._is_end_of(self._open[-1].kind):
            self._close(self._open.pop())
        else:
            self._begin(char)

    def _is_reserved(self, char: str) -> bool:
        is_verbatim = bool(self._open) and self._open[-1].kind in {"code", "pre"}
        return char == "`" if is_verbatim else char in _RESERVED

    def _is_end_of_quote(self, char: str) -> bool:
        return self._is_quoting and char == "\n" and self._peek(1) != ">"

    def _is_end_of(self, kind: str) -> bool:
        if kind == "italic" and self._is_here("__"):
            return False
        return kind in _ENDS and self._is_here(_ENDS[kind])

    def _begin(self, char: str) -> None:
        for mark, kind in _BEGINNINGS:
            if self._is_here(mark):
                return self._begin_entity(mark, kind)
        if char == "\n":
            self._built.write(char)
        elif char == ">" and self._built.is_at_line_start:
            self._begin_quote()
        else:
            raise _parse_error(f"Character '{char}' is reserved and must be escaped with the preceding '\\'")
        self._at += 1
        return None

    def _begin_entity(self, mark: str, kind: str) -> None:
        began_at, self._at = self._at, self._at + len(mark)
        language = self._take_language() if kind == "pre" else ""
        self._open.append(_Open(kind, began_at, self._built.units, self._built.written, language))

    def _begin_quote(self) -> None:
        if not self._is_quoting:
            self._is_quoting = True
            self._open.append(_Open("blockquote", self._at, self._built.units, self._built.written))

    def _close(self, opened: _Open) -> None:
        self._at += len(_ENDS[opened.kind])
        entity = self._entity(opened)
        if entity is not None and self._built.units > opened.offset:
            self._built.mark(entity, opened.offset)

    def _entity(self, opened: _Open) -> Entity | None:
        if opened.kind == "text_link":
            return link_entity(self._take_url() if self._peek() == "(" else self._built.since(opened.written))
        if opened.kind == "custom_emoji":
            return self._emoji()
        return {"type": opened.kind, "language": opened.language} if opened.language else {"type": opened.kind}

    def _emoji(self) -> Entity:
        if self._peek() != "(":
            raise _parse_error("The entity must contain a tg://emoji or tg://time URL")
        scheme, _, number = self._take_url().partition("tg://emoji?id=")
        if scheme or not number.isdecimal():
            raise _parse_error("Invalid tg://emoji or tg://time URL specified")
        return {"type": "custom_emoji", "custom_emoji_id": number}

    def _take_url(self) -> str:
        """Return what stands in parentheses and pass over it."""
        self._at += 1
        began_at, url = self._at, ""
        while (char := self._peek()) != ")":
            if not char:
                raise _parse_error(f"Can't find end of a URL at byte offset {self._bytes_until(began_at)}")
            if char == "\\" and "\0" < self._peek(1) <= _LAST_ESCAPABLE:
                self._at += 1
                char = self._peek()
            url += char
            self._at += 1
        self._at += 1
        return url

    # --- quotations end with a line, and fold up when their last mark is that of a spoiler ---

    def _end_quote_with_line(self) -> None:
        kind = self._quote_kind()
        opened = self._open.pop()
        if opened.kind != "blockquote":
            raise self._unclosed(opened)
        self._built.write("\n")
        self._at += 1
        self._is_quoting = False
        self._built.mark({"type": kind}, opened.offset)

    def _end_quote_with_text(self) -> None:
        if not self._is_quoting:
            return
        kind = self._quote_kind()
        if self._open[-1].kind == "blockquote":
            opened = self._open.pop()
            if self._built.units > opened.offset:
                self._built.mark({"type": kind}, opened.offset)

    def _quote_kind(self) -> str:
        began_last = self._source[: self._at].removesuffix("\r").endswith("||")
        if self._open[-1].kind == "spoiler" and began_last and self._built.written == self._open[-1].written:
            self._open.pop()
            return "expandable_blockquote"
        return "blockquote"

    def _unclosed(self, opened: _Open) -> Refusal:
        offset = self._bytes_until(opened.began_at)
        return _parse_error(f"Can't find end of {opened.spoken} entity at byte offset {offset}")


class _Markdown(_Reader):
    def parse(self) -> FormattedText:
        while self._at < len(self._source):
            char = self._peek()
            if char == "\\" and self._peek(1) in {"_", "*", "`", "["}:
                self._built.write(self._peek(1))
                self._at += 2
            elif char in {"_", "*", "`", "["}:
                self._entity(char)
            else:
                self._built.write(char)
                self._at += 1
        return self._built.text()

    def _entity(self, char: str) -> None:
        began_at, offset = self._at, self._built.units
        mark = "```" if self._is_here("```") else char
        self._at += len(mark)
        language = self._take_language() if mark == "```" else ""
        end = self._source.find("]" if mark == "[" else mark, self._at)
        if end < 0:
            where = self._bytes_until(began_at)
            raise _parse_error(f"Can't find end of the entity starting at byte offset {where}")
        content = self._source[self._at : end]
        self._built.write(content)
        self._at = end + len(mark)
        entity = self._link(content) if mark == "[" else _simple(mark, language)
        if entity is not None and content:
            self._built.mark(entity, offset)

    def _link(self, content: str) -> Entity | None:
        if self._peek() != "(":
            return link_entity(content)
        url = self._source[self._at + 1 :].partition(")")[0]
        self._at += len(url) + 2
        return link_entity(url)


def _simple(mark: str, language: str) -> Entity:
    kind = {"_": "italic", "*": "bold", "`": "code", "```": "pre"}[mark]
    return {"type": kind, "language": language} if language else {"type": kind}


def _parse_error(reason: str) -> Refusal:
    return bad_request(f"Can't parse entities: {reason}")
