"""Which fields a job type's JSON Schema marks as sensitive: ``"x-sensitive": true`` on a text. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from atf.errors import InvariantViolation
from atf.security.sealed_fields import NOTHING, Marked

MARK: Final = "x-sensitive"
MarkedFields = Callable[[], Marked]
"""Returns what is sensitive; only when somebody asks, as it is read from a file."""

_DATA: Final = ("const", "default", "enum", "examples")
"""Keywords that hold documents and no schemas."""
_BY_NAME: Final = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
"""Keywords that hold schemas under names that are no keywords."""


def nothing_marked() -> Marked:
    """Nothing is sensitive."""
    return NOTHING


def marked_fields(schema: Any) -> Marked:
    """Return the sensitive fields of documents of a schema.

    Errors: InvariantViolation if a mark stands where it cannot be followed: on what is no text, or elsewhere than
            below ``properties``, ``items`` and ``additionalProperties``.
    """
    found, followed = _walk(schema)
    if followed != _count(schema):
        raise InvariantViolation(
            f"{MARK} may stand on texts below properties, items and additionalProperties, and nowhere else"
        )
    return found


def _walk(schema: Any) -> tuple[Marked, int]:
    if not isinstance(schema, Mapping):
        return NOTHING, 0
    if schema.get(MARK) is True:
        return Marked(is_sensitive=True), 1 if schema.get("type") == "string" else 0
    properties = schema.get("properties")
    parts = properties.items() if isinstance(properties, Mapping) else ()
    named = {name: _walk(part) for name, part in parts}
    others, followed = _others(schema)
    fields = {name: below for name, (below, _) in named.items() if below or others}
    return Marked(fields=fields, others=others), followed + sum(count for _, count in named.values())


def _others(schema: Mapping[str, Any]) -> tuple[Marked | None, int]:
    """Other names of an object, or the elements of a list; a schema cannot mark both."""
    marked = [_walk(schema.get(keyword)) for keyword in ("items", "additionalProperties")]
    found = [(one, count) for one, count in marked if one]
    return found[0] if found else (None, 0)


def _count(node: Any) -> int:
    match node:
        case Mapping():
            own = 1 if node.get(MARK) is True else 0
            return own + sum(_count_below(key, part) for key, part in node.items() if key not in _DATA)
        case list():
            return sum(map(_count, node))
        case _:
            return 0


def _count_below(keyword: str, part: Any) -> int:
    if keyword in _BY_NAME and isinstance(part, Mapping):
        return sum(map(_count, part.values()))
    return _count(part)
