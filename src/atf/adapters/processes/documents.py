"""What may pass between worker and child: one JSON object of limited size. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isfinite, isnan
from typing import Final

from atf.errors import PermanentFailure

_DEEPEST: Final = 100


def encoded(document: object, what: str, longest: int) -> bytes:
    """Return a JSON object as JSON. Units: ``longest`` in bytes.

    Errors: PermanentFailure that begins with ``what`` and names the value that JSON cannot hold, or the size.
    """
    if not isinstance(document, dict):
        raise PermanentFailure(f"{what} must be a JSON object (a dict), not {_kind(document)}")
    try:
        body = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        found = next(_culprits(document, "", 0), f"cannot be written as JSON: {exc}")
        raise PermanentFailure(f"{what} {found}") from exc
    if len(body) > longest:
        raise PermanentFailure(f"{what} has {len(body)} bytes as JSON; at most {longest} are allowed")
    return body


def _culprits(value: object, path: str, depth: int) -> Iterator[str]:
    """Yield what is wrong inside a value, with the way to it."""
    if depth > _DEEPEST:
        yield f"is nested deeper than {_DEEPEST} levels at {path[:60]}..."
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str | int | float | bool | None):
                yield f"has a key that is {_kind(key)} at {path or 'its top'}; keys are strings"
            yield from _culprits(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _culprits(inner, f"{path}[{index}]", depth + 1)
    elif isinstance(value, float) and not isfinite(value):
        yield f"holds {_spelled(value)} at {path}, which JSON cannot hold; use null"
    elif not isinstance(value, str | int | float | bool | None):
        yield f"holds {_kind(value)} at {path}, which JSON cannot hold"


def _spelled(value: float) -> str:
    if isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__qualname__}"
