"""Text and the styles of its parts; offsets and lengths count UTF-16 code units, as Telegram's do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

Entity = Mapping[str, Any]

_USER_LINK: Final = re.compile(r"tg://user/?\?id=([0-9]+)\Z")
_FOUND: Final = (
    ("url", re.compile(r"https?://[^\s<>\"]*[^\s<>\".,!?;:)]")),
    ("bot_command", re.compile(r"(?<![\w/])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/])")),
    ("mention", re.compile(r"(?<![\w@])@[A-Za-z0-9_]{4,32}\b")),
    ("hashtag", re.compile(r"(?<![\w#])#\w*[^\W\d]\w*")),
)


@dataclass(frozen=True, slots=True)
class FormattedText:
    """A text without marks; ``entities`` as in the Bot API, by offset, the longer first."""

    text: str = ""
    entities: tuple[Entity, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be read."""
        return not self.text.strip()

    def trimmed(self) -> FormattedText:
        """Return it without white space at its ends, as Telegram stores texts."""
        first = min(
            _begins_at(self.text), *(_index(self.text, e["offset"]) for e in self.entities), len(self.text)
        )
        text = self.text[first:].rstrip()
        shift, end = utf16_length(self.text[:first]), utf16_length(text)
        moved = [_within({**entity, "offset": entity["offset"] - shift}, end) for entity in self.entities]
        return FormattedText(text, tuple(entity for entity in moved if entity["length"] > 0))

    def with_found(self) -> FormattedText:
        """Return it with what Telegram finds itself: links, commands, mentions, hashtags."""
        taken = [(entity["offset"], entity["offset"] + entity["length"]) for entity in self.entities]
        found: list[Entity] = []
        for kind, pattern in _FOUND:
            for match in pattern.finditer(self.text):
                begin = utf16_length(self.text[: match.start()])
                end = begin + utf16_length(match.group())
                if all(end <= other or begin >= until for other, until in taken):
                    found.append({"offset": begin, "length": end - begin, "type": kind})
                    taken.append((begin, end))
        return FormattedText(self.text, in_order([*self.entities, *found]))


class FormattedBuilder:
    """A text that is written from its beginning to its end, with parts marked once they are written."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._entities: list[Entity] = []
        self.units = 0
        self.written = 0

    @property
    def is_at_line_start(self) -> bool:
        """Whether the next character is the first of its line."""
        last = next((part for part in reversed(self._parts) if part != "\r"), "\n")
        return last == "\n"

    def write(self, text: str) -> None:
        """Append characters."""
        self._parts.extend(text)
        self.written = len(self._parts)
        self.units += utf16_length(text)

    def since(self, position: int) -> str:
        """Return what was written after so many characters."""
        return "".join(self._parts[position:])

    def mark(self, entity: Entity, offset: int) -> None:
        """Give a style to everything from an offset on."""
        self._entities.append({"offset": offset, "length": self.units - offset, **entity})

    def text(self) -> FormattedText:
        """Return all of it."""
        return FormattedText("".join(self._parts), in_order(self._entities))


def utf16_length(text: str) -> int:
    """Return how many UTF-16 code units a text has."""
    return len(text) + sum(char > "\uffff" for char in text)


def in_order(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """Return entities by offset; one that holds another comes before it."""
    return tuple(sorted(entities, key=lambda entity: (entity["offset"], -entity["length"])))


def link_entity(url: str) -> Entity | None:
    """Return the entity of a link, None for an address that Telegram passes over without a word."""
    if (user := _USER_LINK.match(url)) is not None:
        return {"type": "text_mention", "user": {"id": int(user.group(1)), "is_bot": False, "first_name": ""}}
    checked = checked_link(url)
    return None if checked is None else {"type": "text_link", "url": checked}


def checked_link(url: str) -> str | None:
    """Return an address in full, None if Telegram takes it for none: a host without a dot, such as localhost."""
    if url.lower().startswith(("tg:", "ton:")):
        return url
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return None
    if (
        parts.scheme.lower() not in {"http", "https"}
        or ("." not in host and ":" not in host)
        or " " in url.strip()
    ):
        return None
    return parts._replace(path=parts.path or "/").geturl()


def segments(text: FormattedText) -> list[tuple[str, tuple[Entity, ...]]]:
    """Return the text cut where styles begin or end, each piece with the styles that it has."""
    encoded = text.text.encode("utf-16-le")
    cuts = {0, len(encoded) // 2}
    for entity in text.entities:
        cuts |= {entity["offset"], entity["offset"] + entity["length"]}
    return [
        (
            encoded[2 * begin : 2 * end].decode("utf-16-le"),
            tuple(e for e in text.entities if e["offset"] <= begin and end <= e["offset"] + e["length"]),
        )
        for begin, end in pairwise(sorted(cuts))
    ]


def _begins_at(text: str) -> int:
    return len(text) - len(text.lstrip(" \n"))


def _index(text: str, units: int) -> int:
    """Return the position of a code unit in characters."""
    return len(text.encode("utf-16-le")[: 2 * units].decode("utf-16-le", "ignore"))


def _within(entity: Entity, end: int) -> Entity:
    return {**entity, "length": min(entity["length"], end - entity["offset"])}
