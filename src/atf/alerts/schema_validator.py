"""AlertSchemaValidator: a configuration's shape against its JSON Schema, with errors that name the field.

Used when something is stored, never for every evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from atf.errors import InvalidAlertRule


class AlertSchemaValidator:
    """Checks documents against the schemas that ship in ``alerts/schemas``; each is read once."""

    def validate(self, document: object, schema: str = "alert") -> Mapping[str, Any]:
        """Return the document if its shape is right.

        Errors: InvalidAlertRule with the JSON path of the first thing that is wrong.
        """
        errors = sorted(_validator(schema).iter_errors(document), key=lambda error: list(error.absolute_path))
        if errors:
            raise _refusal(errors[0])
        if not isinstance(document, Mapping):
            raise InvalidAlertRule(f"must be a JSON object, got {document!r}")
        return document


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
                f"{error.instance!r} is not one of {', '.join(allowed)}{_hint(error.instance, allowed)}",
                field=path,
            )
        case "type":
            return InvalidAlertRule(f"must be {_kind(error)}, got {error.instance!r}", field=path)
        case "pattern":
            return InvalidAlertRule(f"{error.instance!r} has characters that are not allowed", field=path)
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
