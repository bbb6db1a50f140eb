"""Changes of configurations: what differs between two, and what a merge patch makes of one. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ChangeKind(StrEnum):
    """What became of a field."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that two documents do not have alike; what is not there is None."""

    path: str
    kind: ChangeKind
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return what differs, by path; lists are compared as a whole, as their order counts."""
    return list(_differences(before, after, ""))


def merged(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document after a merge patch (RFC 7396): null takes a field out, objects are merged."""
    result = dict(document)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            known = result.get(name)
            result[name] = merged(known if isinstance(known, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        below = f"{path}.{name}" if path else name
        was, becomes = before.get(name), after.get(name)
        if name not in after:
            yield Difference(below, ChangeKind.REMOVED, was, None)
        elif name not in before:
            yield Difference(below, ChangeKind.ADDED, None, becomes)
        elif isinstance(was, Mapping) and isinstance(becomes, Mapping):
            yield from _differences(was, becomes, below)
        elif not _is_same(was, becomes):
            yield Difference(below, ChangeKind.CHANGED, was, becomes)


def _is_same(one: object, other: object) -> bool:
    """Compare as JSON: 1 is not true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
