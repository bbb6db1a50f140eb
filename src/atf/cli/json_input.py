"""JSON that a user gives on the command line, in a file or on standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from atf.errors import InvalidInput


def read_json(given: str, field: str) -> Any:
    """Return what ``given`` says: JSON itself, @FILE, or - for standard input. Errors: InvalidInput."""
    text = _text_of(given, field)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput(f"is not JSON: {exc}", field=field) from exc


def named_value(text: str) -> tuple[str, Any]:
    """Return what NAME=VALUE says, the value as JSON or, if it is none, as text. Errors: InvalidInput."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f"must be NAME=VALUE, got '{text}'", field="--param")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def _text_of(given: str, field: str) -> str:
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text("utf-8")
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name, or a file that is no UTF-8
        raise InvalidInput(f"cannot read {given[1:]}: {exc}", field=field) from exc
