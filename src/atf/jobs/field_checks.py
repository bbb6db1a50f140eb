"""Whether single values of schedules and runs can be stored; every refusal names the field. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from atf.errors import InvalidInput, shown
from atf.jobs.schema_validator import require_storable
from atf.security.limits import LARGEST_PARAMS, LONGEST_NAME

LARGEST_COUNT: Final = 2**31 - 1


def require_text(value: object, field: str) -> str:
    """Return a name or target. NUL, line breaks and halves of characters are not printable."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.isprintable():
        raise InvalidInput(f"must have 1 to {LONGEST_NAME} printable characters", field=field)
    return value


def require_integer(value: object, field: str, low: int, high: int) -> None:
    """Refuse what is no integer from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput(f"must be {low} to {high}, got {shown(value)}", field=field)


def require_seconds(value: object, field: str, *, most: int, may_be_zero: bool = False) -> None:
    """Refuse what is no duration up to ``most`` seconds."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not is_number or not 0 <= float(str(value)) <= most or (value == 0 and not may_be_zero):
        least = "0" if may_be_zero else "more than 0"
        raise InvalidInput(f"must be {least} to {most} seconds, got {shown(value)}", field=field)


def require_flag(value: object, field: str) -> None:
    """Refuse what is neither true nor false."""
    if not isinstance(value, bool):
        raise InvalidInput(f"must be true or false, got {shown(value)}", field=field)


def require_params(value: object) -> Mapping[str, Any]:
    """Return ``task_params`` if they are a JSON object that the database can hold and is not too large."""
    if not isinstance(value, Mapping):
        raise InvalidInput(f"must be a JSON object, got {shown(value)}", field="task_params")
    try:
        require_storable(value)
    except InvalidInput as exc:
        raise InvalidInput(exc.reason, field=f"task_params.{exc.field}".rstrip(".")) from exc
    size = len(json.dumps(value))
    if size > LARGEST_PARAMS:
        raise InvalidInput(f"are {size} characters of JSON; at most {LARGEST_PARAMS}", field="task_params")
    return value
