"""Texts and captions of calls, with their styles, within Telegram's bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from atf.testing.telegram_api.calls import Call
from atf.testing.telegram_api.formatted import FormattedText, in_order, utf16_length
from atf.testing.telegram_api.html import parse_html
from atf.testing.telegram_api.markdown import parse_markdown, parse_markdown_v2
from atf.testing.telegram_api.refusals import bad_request

LONGEST_TEXT: Final = 4096
LONGEST_CAPTION: Final = 1024
_MOST_BYTES: Final = 1 << 15
_PARSERS: Final = {"markdownv2": parse_markdown_v2, "markdown": parse_markdown, "html": parse_html}


def read_text(call: Call) -> FormattedText:
    """Return the text of a message. Errors: Refusal (400) for none, a long one, styles that do not parse."""
    if not call.text("text"):
        raise bad_request("Message text is empty")
    text = _formatted(call.text("text"), call.text("parse_mode"), _entities(call, "entities"))
    if text.is_empty:
        raise bad_request("Text must be non-empty")
    if len(text.text) > LONGEST_TEXT:
        raise bad_request("Message is too long")
    return text.with_found()


def read_caption(call: Call) -> FormattedText:
    """Return the caption of a file, empty if there is none. Errors: as ``read_text``."""
    return caption_of(call.text("caption"), call.text("parse_mode"), _entities(call, "caption_entities"))


def caption_of(caption: str, parse_mode: str, entities: Any) -> FormattedText:
    """Return a caption out of its parts. Errors: as ``read_text``."""
    text = _formatted(caption, parse_mode, entities)
    if len(text.text) > LONGEST_CAPTION:
        raise bad_request("Message caption is too long")
    return FormattedText() if text.is_empty else text.with_found()


def _entities(call: Call, name: str) -> Any:
    return call.document(name, "message entities")


def _formatted(source: str, parse_mode: str, entities: Any) -> FormattedText:
    if len(source.encode()) > _MOST_BYTES:
        raise bad_request("Text is too long")
    mode = parse_mode.lower()
    if source and mode not in {"", "none"}:
        if mode not in _PARSERS:
            raise bad_request("Unsupported parse_mode")
        return _PARSERS[mode](source).trimmed()
    return _with_entities(source, entities).trimmed()


def _with_entities(source: str, entities: Any) -> FormattedText:
    if not isinstance(entities, list):
        return FormattedText(source)
    length = utf16_length(source)
    for entity in entities:
        _check_entity(entity, length)
    return FormattedText(source, in_order(entities))


def _check_entity(entity: Mapping[str, Any], length: int) -> None:
    if not isinstance(entity, dict) or not all(
        isinstance(entity.get(name), int) for name in ("offset", "length")
    ):
        raise bad_request("Can't parse MessageEntity: expected an Object")
    if entity["offset"] > length:
        offset = entity["offset"]
        raise bad_request(f"Entity begins after the end of the text at UTF-16 offset {offset}")
    if entity["offset"] + entity["length"] > length:
        offset = entity["offset"]
        raise bad_request(
            f"Entity beginning at UTF-16 offset {offset} ends after the end of the text at UTF-16 offset"
            f" {offset + entity['length']}"
        )
