"""A message of each type to try templates on: those of the package, and those that a user writes down.

A message is a JSON object with ``title``, ``body``, ``priority``, ``payload`` and ``created_at``, all optional. A
digest is ``{"messages": [...]}`` of such objects, each with its ``type``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any, Final

from atf.errors import InvalidInput, shown
from atf.notifications.letter_templates import DEFAULT, DIGEST, is_type_name
from atf.notifications.message import Delivery, Priority

_FIELDS: Final = ("title", "body", "priority", "payload", "created_at")
_SENT_AT: Final = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
_IN_DIGEST: Final = ("alert", "notification", "report")


def sample_types() -> tuple[str, ...]:
    """Return the types that the package has samples of, in order."""
    return tuple(sorted((*_documents(), DIGEST)))


def packaged_sample(notification_type: str) -> Sequence[Delivery]:
    """Return the message, or of ``digest`` the messages, that the package has for a type.

    Errors: InvalidInput(field="type") if it has none.
    """
    if notification_type == DIGEST:
        return tuple(_delivery(kind, _documents()[kind]) for kind in _IN_DIGEST)
    document = _documents().get(notification_type)
    if document is None:
        raise InvalidInput(
            f"there is no sample of {shown(notification_type)}; give one with --sample, or take one of "
            + ", ".join(sample_types()),
            field="type",
        )
    return (_delivery(notification_type, document),)


def given_sample(notification_type: str, document: Any) -> Sequence[Delivery]:
    """Return what a user wrote down as a message of a type.

    Errors: InvalidInput that names the field.
    """
    if notification_type != DIGEST:
        return (_delivery(notification_type, _object(document, "sample")),)
    messages = _object(document, "sample").get("messages")
    if not isinstance(messages, list) or len(messages) < 2:
        raise InvalidInput("must be a list of two messages or more", field="messages")
    parts = [_object(one, f"messages[{place}]") for place, one in enumerate(messages)]
    return tuple(_delivery(part.get("type", DEFAULT), {**part, "type": None}) for part in parts)


@cache
def _documents() -> dict[str, Mapping[str, Any]]:
    folder = resources.files("atf.notifications").joinpath("samples")
    files = [file for file in folder.iterdir() if file.name.endswith(".json")]
    return {file.name.removesuffix(".json"): json.loads(file.read_text("utf-8")) for file in files}


def _delivery(notification_type: object, document: Mapping[str, Any]) -> Delivery:
    if not isinstance(notification_type, str) or not is_type_name(notification_type):
        raise InvalidInput(f"{shown(notification_type)} is no name of a type", field="type")
    unknown = {name for name, value in document.items() if value is not None} - {*_FIELDS}
    if unknown:
        raise InvalidInput(f"must have no fields but {', '.join(_FIELDS)}", field=min(unknown))
    return Delivery(
        id=0,
        message_id=0,
        user_id=0,
        channel="",
        attempts=1,
        dedup_key="sample",
        notification_type=notification_type,
        title=_text(document, "title"),
        body=_text(document, "body"),
        payload=_object(document.get("payload", {}), "payload"),
        created_at=_instant(document.get("created_at")),
        priority=_priority(document.get("priority", Priority.NORMAL)),
    )


def _object(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"must be a JSON object, got {shown(value)}", field=field)
    return value


def _text(document: Mapping[str, Any], field: str) -> str:
    value = document.get(field, "")
    if not isinstance(value, str):
        raise InvalidInput(f"must be a text, got {shown(value)}", field=field)
    return value


def _priority(value: Any) -> Priority:
    try:
        return Priority(value)
    except ValueError:
        raise InvalidInput(
            f"must be one of {', '.join(Priority)}, got {shown(value)}", field="priority"
        ) from None


def _instant(value: Any) -> datetime:
    if value is None:
        return _SENT_AT
    try:
        instant = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        instant = None
    if instant is None or instant.tzinfo is None:
        raise InvalidInput(
            f"must be an instant such as 2027-03-01T12:00:00Z, got {shown(value)}", field="created_at"
        )
    return instant
