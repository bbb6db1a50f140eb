"""Messages between service and bot as JSON, and back: never a pickle, and nothing else.

A message is an object that names its kind. Decimals are strings, instants ISO with their offset, floats numbers
(null where a value is missing); everything else is checked field by field on its way in. How frames are cut is
the business of whoever owns the socket. Pure.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from math import isnan, nan
from typing import Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

from atf.errors import InvariantViolation
from atf.trading.bot_messages import MOST, FromBot, ToBot

LONGEST_TO_BOT: Final = 64 * 2**20
"""Bytes of a message to a bot: a start with years of bars."""
LONGEST_FROM_BOT: Final = 2**20
"""Bytes of a message from a bot: its state, some orders, an analysis."""

_KIND: Final = "kind"


class _Wrong(Exception):
    """A value that is not what its field holds; the text says what it is."""


class _Coder(NamedTuple):
    """How the values of one type are written, and read again."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def encode(message: ToBot | FromBot) -> bytes:
    """Return a message as one JSON object. Errors: InvariantViolation if it holds what JSON cannot."""
    found: Any = type(message)
    kind = found.__name__
    try:
        body = {_KIND: kind, **_coder(found).write(message)}
        return _ENCODER.encode(body).encode()
    except (_Wrong, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise InvariantViolation(f"a message {kind} cannot be written: {exc}") from exc


def decode_to_bot(body: bytes) -> ToBot:
    """Read what the service says. Errors: InvariantViolation if it is unknown or malformed."""
    message: ToBot = _decoded(body, get_args(ToBot))
    return message


def decode_from_bot(body: bytes) -> FromBot:
    """Read what a bot says. Errors: InvariantViolation if it is unknown or malformed."""
    message: FromBot = _decoded(body, get_args(FromBot))
    return message


def _decoded(body: bytes, kinds: Sequence[type]) -> Any:
    try:
        document = _DECODER.decode(body.decode())
    except (ValueError, RecursionError, _Wrong) as exc:
        raise InvariantViolation(f"a message that is no JSON: {exc}") from exc
    kind = document.pop(_KIND, None) if isinstance(document, dict) else None
    found = next((one for one in kinds if one.__name__ == kind), None)
    if found is None:
        raise InvariantViolation(f"a message of the unknown kind {str(kind)[:60]!r}")
    try:
        return _coder(found).read(document)
    except _Wrong as exc:
        raise InvariantViolation(f"a malformed message {kind}: {exc}") from exc


def _no_constant(name: str) -> float:
    raise _Wrong(f"{name} is no number of JSON")


# Made once: json.dumps and json.loads would make them anew for each heartbeat of each bot.
_ENCODER: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


@cache
def _coder(kind: Any) -> _Coder:
    """Return how a type is written and read; found out once."""
    if (given := getattr(kind, "__supertype__", None)) is not None:
        return _coder(given)
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional(kind)
    if origin is tuple:
        return _tuple(get_args(kind))
    if origin is Sequence:
        return _sequence(_coder(get_args(kind)[0]))
    if origin is Mapping:
        return _mapping(*get_args(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _Coder(str, _reader_of(str, kind))
    if is_dataclass(kind):
        return _dataclass(kind)
    raise TypeError(f"no message may hold {kind}")


def _dataclass(kind: Any) -> _Coder:
    hints = get_type_hints(kind)
    coders = {one.name: _limited(_coder(hints[one.name]), one.metadata.get(MOST)) for one in fields(kind)}
    needed = {one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING}

    def write(value: Any) -> dict[str, Any]:
        return {name: coder.write(getattr(value, name)) for name, coder in coders.items()}

    def read(value: Any) -> Any:
        given = _of(dict, value)
        if given.keys() - coders.keys():
            raise _Wrong(f"{kind.__name__} has no {min(given.keys() - coders.keys())[:60]!r}")
        if needed - given.keys():
            raise _Wrong(f"{kind.__name__} lacks {min(needed - given.keys())!r}")
        return kind(**{name: _field(name, coders[name], part) for name, part in given.items()})

    return _Coder(write, read)


def _field(name: str, coder: _Coder, value: Any) -> Any:
    try:
        return coder.read(value)
    except _Wrong as exc:
        raise _Wrong(f"{name}: {exc}") from exc


def _limited(coder: _Coder, most: int | None) -> _Coder:
    """Refuse what has too many entries before the first of them is read."""
    if most is None:
        return coder

    def read(value: Any) -> Any:
        if len(_of(list, value)) > most:
            raise _Wrong(f"{len(value)} values where {most} are allowed")
        return coder.read(value)

    return _Coder(coder.write, read)


def _optional(kind: Any) -> _Coder:
    inner, none = get_args(kind)
    if none is not type(None):
        raise TypeError(f"no message may hold {kind}")
    coder = _coder(inner)
    return _Coder(
        lambda value: None if value is None else coder.write(value),
        lambda value: None if value is None else coder.read(value),
    )


def _tuple(parts: Sequence[Any]) -> _Coder:
    if parts[-1] is ...:
        return _sequence(_coder(parts[0]))
    coders = [_coder(part) for part in parts]

    def write(value: Any) -> list[Any]:
        return [coder.write(part) for coder, part in zip(coders, value, strict=True)]

    def read(value: Any) -> tuple[Any, ...]:
        if len(_of(list, value)) != len(coders):
            raise _Wrong(f"{len(value)} values where there are {len(coders)}")
        return tuple(coder.read(part) for coder, part in zip(coders, value, strict=True))

    return _Coder(write, read)


def _sequence(coder: _Coder) -> _Coder:
    return _Coder(
        lambda value: [coder.write(part) for part in value],
        lambda value: tuple(coder.read(part) for part in _of(list, value)),
    )


def _mapping(key: Any, inner: Any) -> _Coder:
    """JSON's keys are strings: those that are numbers are written out."""
    coder = _coder(inner)
    key_of = _number_key if key is int else str
    return _Coder(
        lambda value: {str(name): coder.write(part) for name, part in value.items()},
        lambda value: {key_of(name): coder.read(part) for name, part in _of(dict, value).items()},
    )


def _number_key(name: str) -> int:
    if not name.isascii() or not name.isdigit():
        raise _Wrong(f"the key {name[:60]!r} is no number")
    return int(name)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise _Wrong(f"a {type(value).__name__} where a {kind.__name__} is")
    return value


def _reader_of(raw: type, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        try:
            return make(_of(raw, value))
        except (ValueError, InvalidOperation) as exc:
            raise _Wrong(str(exc)) from exc

    return read


def _written_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise _Wrong(f"{value} is no amount")
    return str(value)


def _read_decimal(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError(f"{text[:60]} is no amount")
    return value


def _written_instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise _Wrong(f"{value} has no time zone")
    return value.isoformat()


def _read_instant(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"{text[:60]} has no time zone")
    return value


def _read_float(value: Any) -> float:
    if value is None:
        return nan
    return float(value) if type(value) is int else float(_of(float, value))


_PLAIN: Final[Mapping[Any, _Coder]] = {
    str: _Coder(str, lambda value: _of(str, value)),
    int: _Coder(int, lambda value: _of(int, value)),
    bool: _Coder(bool, lambda value: _of(bool, value)),
    float: _Coder(lambda value: None if isnan(value) else float(value), _read_float),
    Decimal: _Coder(_written_decimal, _reader_of(str, _read_decimal)),
    datetime: _Coder(_written_instant, _reader_of(str, _read_instant)),
    Any: _Coder(lambda value: value, lambda value: value),
}
