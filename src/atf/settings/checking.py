"""One value against its setting's type and limits, with pydantic's finding in our words."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import TypeAdapter, ValidationError

from atf.settings.names import Setting

_BEGINS: Final = "Input should be "
_OWN_CHECK: Final = "Value error, "
_PLAIN: Final = {"string_type": "must be a text", "bool_type": "must be true or false"}


def refusal(setting: Setting, value: object, *, is_strict: bool) -> str | None:
    """Return what a value must be, such as ``must be greater than 0``; None if it is right.

    Strict is for JSON, which has numbers and booleans of its own; the environment has only texts.
    """
    kind: Any = Annotated[setting.info.annotation, setting, *setting.info.metadata]
    try:
        TypeAdapter(kind).validate_python(value, strict=is_strict)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        return _requirement(error["type"], error["msg"])
    return None


def _requirement(kind: str, message: str) -> str:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if message.startswith(_BEGINS):
        return f"must be {message.removeprefix(_BEGINS).partition(', ')[0]}"
    if message.startswith(_OWN_CHECK):
        return message.removeprefix(_OWN_CHECK)
    return f"is not allowed ({message})"
