"""AlertSchemaValidator: a configuration's shape against its JSON Schema, with errors that name the field.

Used when something is stored, never for every evaluation.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from atf.errors import InvalidAlertRule, shown

_MOST_DEPTH: Final = 200
_LONGEST_TEXT: Final = 4000
_LARGEST_NUMBER: Final = sys.float_info.max
_LONGEST_PATH: Final = 100
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""NUL, and halves of surrogate pairs."""


class AlertSchemaValidator:
    """Checks documents against the schemas that ship in ``alerts/schemas``; each is read once."""

    def validate(self, document: object, schema: str = "alert") -> Mapping[str, Any]:
        """Return the document if its shape is right.

        Errors: InvalidAlertRule with the JSON path of the first thing that is wrong.
        """
        if not isinstance(document, Mapping):
            raise InvalidAlertRule(f"must be a JSON object, got {shown(document)}")
        _require_storable(document, "", 0)
        errors = sorted(_validator(schema).iter_errors(document), key=_telling_first)
        if errors:
            raise _refusal(errors[0])
        return document


def _telling_first(error: ValidationError) -> tuple[bool, list[str | int]]:
    """A name that is not known explains the fields that came with it, so it is told before them."""
    return error.validator != "enum", list(error.absolute_path)


def _require_storable(node: object, path: str, depth: int) -> None:
    """Refuse what JSON or the database cannot hold, before anything tries to compare, show or store it."""
    if depth > _MOST_DEPTH:
        raise InvalidAlertRule(f"nested more than {_MOST_DEPTH} deep", field=f"{path[:_LONGEST_PATH]}...")
    match node:
        case list():
            for index, part in enumerate(node):
                _require_storable(part, f"{path}[{index}]", depth + 1)
        case Mapping():
            for name, part in node.items():
                _require_text(name, path)
                _require_storable(part, f"{path}.{name}" if path else name, depth + 1)
        case str():
            _require_text(node, path)
        case int() | float():
            _require_finite(node, path)
        case None:
            pass
        case _:
            raise InvalidAlertRule(f"is not JSON: {shown(node)}", field=path)


def _require_finite(number: float, path: str) -> None:
    if not -_LARGEST_NUMBER <= number <= _LARGEST_NUMBER:
        raise InvalidAlertRule(f"must be a finite number, got {shown(number)}", field=path)


def _require_text(text: object, path: str) -> None:
    if not isinstance(text, str):
        raise InvalidAlertRule(f"a field's name must be a text, got {shown(text)}", field=path)
    if len(text) > _LONGEST_TEXT:
        raise InvalidAlertRule(f"has more than {_LONGEST_TEXT} characters", field=path)
    if _UNSTORABLE.search(text):
        raise InvalidAlertRule(f"has characters that cannot be stored: {shown(text)}", field=path)


@cache
def _validator(schema: str) -> Draft202012Validator:
    text = resources.files("atf.alerts").joinpath(f"schemas/{schema}.schema.json").read_text("utf-8")
    return Draft202012Validator(json.loads(text))


def _refusal(error: ValidationError) -> InvalidAlertRule:
    path, wanted = _path(error), cast("Any", error.validator_value)
    match error.validator:
        case "additionalProperties":
            return _unknown_field(error, path)
        case "required":
            missing = next(name for name in wanted if name not in cast("Any", error.instance))
            return InvalidAlertRule("is missing", field=f"{path}.{missing}" if path else missing)
        case "enum":
            allowed = [str(value) for value in wanted]
            return InvalidAlertRule(
                f"{shown(error.instance)} is not one of {', '.join(allowed)}{_hint(error.instance, allowed)}",
                field=path,
            )
        case "type":
            return InvalidAlertRule(f"must be {_kind(error)}, got {shown(error.instance)}", field=path)
        case "pattern":
            return InvalidAlertRule(f"{shown(error.instance)} has characters that are not allowed", field=path)
        case _:
            return InvalidAlertRule(error.message, field=path)


def _kind(error: ValidationError) -> str:
    kind = str(error.validator_value)
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _unknown_field(error: ValidationError, path: str) -> InvalidAlertRule:
    allowed = list(cast("Any", error.schema)["properties"])
    unknown = next(name for name in cast("Any", error.instance) if name not in allowed)
    hint = _hint(unknown, allowed) or f"; allowed: {', '.join(allowed)}"
    return InvalidAlertRule(f"unknown field{hint}", field=f"{path}.{unknown}" if path else str(unknown))


def _hint(found: object, allowed: list[str]) -> str:
    close = get_close_matches(str(found), allowed, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _path(error: ValidationError) -> str:
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
