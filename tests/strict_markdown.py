"""MarkdownV2 as Telegram reads it, told by nobody but its manual: what is not allowed there is refused here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

RESERVED: Final = frozenset("_*[]()~`>#+-=|{}.!")
MARKS: Final = (("__", "underline"), ("||", "spoiler"), ("*", "bold"), ("_", "italic"), ("~", "strikethrough"))


class CannotParse(ValueError):
    """Telegram would answer 400, can't parse entities."""


@dataclass
class Read:
    """What a reader sees, and which parts of it are marked how."""

    text: str = ""
    entities: list[tuple[str, str]] = field(default_factory=list)


def read_markdown(source: str) -> Read:
    read = Read()
    opened: list[tuple[str, int]] = []
    at = 0
    while at < len(source):
        at = _step(source, at, read, opened)
    if opened:
        raise CannotParse(f"{opened[-1][0]} is not closed")
    return read


def _step(source: str, at: int, read: Read, opened: list[tuple[str, int]]) -> int:
    here = source[at]
    if here == "\\":
        return _escaped(source, at, read)
    if here == "`":
        return _code(source, at, read)
    if here == "[":
        opened.append(("[", len(read.text)))
        return at + 1
    if here == "]":
        return _link(source, at, read, opened)
    for mark, name in MARKS:
        if source.startswith(mark, at):
            _toggle(mark, name, read, opened)
            return at + len(mark)
    if here in RESERVED:
        raise CannotParse(f"character {here!r} at {at} is reserved and must be escaped")
    read.text += here
    return at + 1


def _escaped(source: str, at: int, read: Read) -> int:
    following = source[at + 1 : at + 2]
    if following and 1 <= ord(following) <= 126:
        read.text += following
        return at + 2
    read.text += "\\"
    return at + 1


def _toggle(mark: str, name: str, read: Read, opened: list[tuple[str, int]]) -> None:
    if opened and opened[-1][0] == mark:
        _close(name, opened.pop()[1], read)
    elif any(one == mark for one, _ in opened):
        raise CannotParse(f"{mark} crosses another entity")
    else:
        opened.append((mark, len(read.text)))


def _close(name: str, start: int, read: Read) -> None:
    if not read.text[start:]:
        raise CannotParse(f"{name} of nothing")
    read.entities.append((name, read.text[start:]))


def _code(source: str, at: int, read: Read) -> int:
    fence = "```" if source.startswith("```", at) else "`"
    inner, end = _until(source, at + len(fence), fence)
    read.text += inner
    read.entities.append(("code", inner))
    return end


def _link(source: str, at: int, read: Read, opened: list[tuple[str, int]]) -> int:
    if not opened or opened[-1][0] != "[" or source[at + 1 : at + 2] != "(":
        raise CannotParse("] ends no link")
    url, end = _until(source, at + 2, ")")
    _close(f"link {url}", opened.pop()[1], read)
    return end


def _until(source: str, at: int, fence: str) -> tuple[str, int]:
    """Return what stands before a fence, without its backslashes, and where it goes on behind it."""
    inner = ""
    while at < len(source):
        if source[at] == "\\" and source[at + 1 : at + 2] and 1 <= ord(source[at + 1]) <= 126:
            inner += source[at + 1]
            at += 2
        elif source.startswith(fence, at):
            return inner, at + len(fence)
        else:
            inner += source[at]
            at += 1
    raise CannotParse(f"{fence} is missing")
