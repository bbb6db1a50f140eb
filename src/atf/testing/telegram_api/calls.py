"""A request to the Bot API, read from a query, a form, a form with files, or JSON: all values are text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from atf.testing.telegram_api.refusals import Refusal, bad_request

_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_TRUE: Final = frozenset({"true", "yes", "1"})


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """One request: ``method`` as it was spelled, ``values`` as text (JSON inside of it stays text), ``files``."""

    method: str
    values: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Upload] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return a value, empty if it was not sent."""
        return self.values.get(name, "")

    def integer(self, name: str, default: int = 0) -> int:
        """Return a whole number; what is none counts as not sent."""
        try:
            return int(self.values[name])
        except (KeyError, ValueError):
            return default

    def flag(self, name: str) -> bool:
        """Return whether a value says yes."""
        return self.text(name).lower() in _TRUE

    def document(self, name: str, spoken: str) -> Any:
        """Return a value that is JSON, None if it was not sent. Errors: Refusal if it is not JSON."""
        if not self.text(name):
            return None
        try:
            return json.loads(self.text(name))
        except ValueError:
            raise bad_request(f"Can't parse {spoken} JSON object") from None

    def upload(self, name: str) -> Upload | None:
        """Return the file sent as this value, itself or by an ``attach://`` that names another part."""
        if name in self.files:
            return self.files[name]
        return self.attached(self.text(name))

    def attached(self, reference: str) -> Upload | None:
        """Return the file that an ``attach://`` names, None if it is no such reference or names nothing."""
        scheme, _, part = reference.partition("attach://")
        return self.files.get(part) if part and not scheme else None

    @property
    def frozen_values(self) -> Mapping[str, str]:
        """The values, to be kept."""
        return MappingProxyType(dict(self.values))


async def read_call(request: web.Request, method: str) -> Call:
    """Return what a request asks for. Errors: Refusal (400) for a body that cannot be read."""
    values: dict[str, str] = dict(request.query)
    files: dict[str, Upload] = {}
    if request.content_type == "application/json":
        values |= _from_json(await request.read())
    elif request.content_type in _FORMS:
        try:
            form = await request.post()
        except ValueError:
            raise Refusal(400, "Bad Request: can't parse form data headers") from None
        for name, value in form.items():
            if isinstance(value, web.FileField):
                files[name] = Upload(value.filename, value.file.read())
            else:
                values[name] = value.decode() if isinstance(value, bytes | bytearray) else value
    return Call(method, values, files)


def call_of(document: Mapping[str, Any]) -> Call:
    """Return the call that a webhook answered with; ``method`` stands among its values."""
    values = {name: _as_text(value) for name, value in document.items()}
    return Call(values.pop("method"), values)


def _from_json(body: bytes) -> dict[str, str]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        raise Refusal(400, "Bad Request: can't parse object, ':' expected") from None
    if not isinstance(document, dict):
        raise Refusal(400, "Bad Request: JSON object expected")
    return {name: _as_text(value) for name, value in document.items() if value is not None}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
