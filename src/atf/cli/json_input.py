"""JSON that a user gives on the command line, in a file or on standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from atf.errors import InvalidInput
from atf.security.limits import LARGEST_DOCUMENT

Text = TypeVar("Text", str, bytes)


def read_json(
    given: str,
    field: str,
    *,
    largest: int = LARGEST_DOCUMENT,
    parse_float: Callable[[str], object] | None = None,
) -> Any:
    """Return what ``given`` says: JSON itself, @FILE, or - for standard input. Units: ``largest`` in bytes.

    Errors: InvalidInput.
    """
    text = _text_of(given, field, largest)
    try:
        return json.loads(text, parse_float=parse_float)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput(f"is not JSON: {exc}", field=field) from exc


def named_value(
    text: str, field: str = "--param", *, parse_float: Callable[[str], object] | None = None
) -> tuple[str, Any]:
    """Return what NAME=VALUE says, the value as JSON or, if it is none, as text. Errors: InvalidInput."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f"must be NAME=VALUE, got '{text}'", field=field)
    try:
        return name, json.loads(value, parse_float=parse_float)
    except (ValueError, RecursionError):
        return name, value


def _text_of(given: str, field: str, largest: int) -> str:
    """Return the text, of which never more is read than may be there: a device or a pipe has no end."""
    if given == "-":
        return _of_size(sys.stdin.read(largest + 1), field, largest)
    if not given.startswith("@"):
        return _of_size(given, field, largest)
    try:
        with Path(given[1:]).open("rb") as file:
            return _of_size(file.read(largest + 1), field, largest).decode("utf-8")
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name, or a file that is no UTF-8
        raise InvalidInput(f"cannot read {given[1:]}: {_reason(exc)}", field=field) from exc


def _reason(exc: OSError | ValueError) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "it is no text in UTF-8"
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)


def _of_size(text: Text, field: str, largest: int) -> Text:
    if len(text) > largest:
        raise InvalidInput(f"is larger than {largest // 1024} KiB, the most that is read", field=field)
    return text
