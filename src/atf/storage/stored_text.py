"""Texts of errors as they are stored: what PostgreSQL can hold, and not without end."""

from __future__ import annotations

import json
import traceback
from typing import Final

from atf.secrecy import concealed

_MOST_FRAMES: Final = 20
_LONGEST_TRACEBACK: Final = 8_000
_LONGEST_TEXT: Final = 10_000


def error_text(error: Exception) -> str:
    """Return type and message in a line; an error that came from a child has those of the child's."""
    return storable_text(f"{_kind(error)}: {_message(error)}")


def error_details(error: Exception) -> str:
    """Return type, message and the end of the traceback; an error that came from a child brings its own."""
    told = getattr(error, "remote_traceback", None)
    lines = told or "".join(traceback.format_exception(error, limit=-_MOST_FRAMES))
    details = {
        "type": _kind(error),
        "message": storable_text(_message(error)),
        "traceback": storable_text(concealed(lines)[-_LONGEST_TRACEBACK:]),
    }
    return json.dumps(details)


def _kind(error: Exception) -> str:
    return getattr(error, "remote_type", None) or type(error).__name__


def _message(error: Exception) -> str:
    told = getattr(error, "remote_message", None)
    return str(error) if told is None else told


def storable_text(text_: str) -> str:
    """Mask secrets and drop what PostgreSQL cannot hold: an error's text must not keep it from being recorded."""
    return concealed(text_)[:_LONGEST_TEXT].replace("\0", "").encode("utf-8", "replace").decode("utf-8")
