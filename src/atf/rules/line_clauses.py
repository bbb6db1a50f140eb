"""From the clauses behind the rule of a line to the fields of the configuration. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from lark import Token

from atf.rules.line_error import LineProblem, Span, quoted
from atf.rules.line_syntax import Clause, finite, number_of, span_of

Places = dict[str, Span]
"""Where the field with a JSON path stands in the line."""

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"(?P<number>[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(?P<unit>[A-Za-z])")
_LONGEST_SECONDS: Final = 10 * 365 * 86_400
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r"}


def add_clauses(config: dict[str, Any], clauses: Iterable[Clause], places: Places) -> None:
    """Add to a configuration what the clauses say, and where they stand to the places. Errors: LineProblem."""
    for clause in clauses:
        word, *values = clause.words
        for path, value in _FIELDS[word.type](values).items():
            _put(config, path, value, clause, places)
        if word.type == "REARM":
            places["rearm"] = clause.span
    if "rearm" in config:
        config["rearm"] = {"type": "edge", **config["rearm"]}


def _put(config: dict[str, Any], path: str, value: Any, clause: Clause, places: Places) -> None:
    if path in places:
        earlier = places[path].start + 1
        raise LineProblem(f"{quoted(clause.words[0])} says again what column {earlier} said", clause.span)
    places[path] = clause.span
    *parents, name = path.split(".")
    for parent in parents:
        config = config.setdefault(parent, {})
    config[name] = value


def _rearm(words: list[Token]) -> Mapping[str, Any]:
    kind, *values = words
    fields: dict[str, Any] = {"rearm.type": kind.lower()}
    match kind.type:
        case "COOLDOWN":
            fields["rearm.cooldown"] = _seconds(values[0])
        case "PERSISTENCE" if values:
            fields["rearm.bars"] = finite(values[0])
        case "HYSTERESIS" if values[1].type == "PERCENT":
            fields["rearm.threshold"] = _fraction(values[0])
        case "HYSTERESIS":
            fields |= {"rearm.threshold": finite(values[0]), "rearm.unit": "absolute"}
    return fields


def _fraction(token: Token) -> float:
    """Return a percentage as a fraction: the double that is nearest to what was written, so 7% is 0.07."""
    if not 0 <= finite(token) < 100:
        raise LineProblem(
            f"{quoted(token)} percent is not from 0 to below 100; or write 'absolute' in place of '%'",
            span_of(token),
        )
    if token[-1].isalpha():
        return number_of(token) / 100
    mantissa, _, exponent = token.lower().partition("e")
    return float(f"{mantissa}e{int(exponent or 0) - 2}")


def _seconds(token: Token) -> int | float:
    match = _DURATION.match(token)
    assert match  # noqa: S101  (the grammar has no other durations)
    seconds = number_of(match["number"]) * SECONDS[match["unit"].lower()]
    if seconds > _LONGEST_SECONDS:
        raise LineProblem(f"{quoted(token)} is longer than ten years", span_of(token))
    return int(seconds) if isinstance(seconds, float) and seconds.is_integer() else seconds


def _instant(token: Token) -> str:
    span = span_of(token)
    try:
        instant = datetime.fromisoformat(token.upper())
        if len(token) == len("2026-12-31"):
            instant = instant.replace(tzinfo=UTC)
        if instant.tzinfo is None:
            raise LineProblem(f"{quoted(token)} needs its zone, Z for UTC: {token}Z", span)
        return instant_text(instant)
    except (ValueError, OverflowError) as exc:
        raise LineProblem(f"{quoted(token)} is no date or time that there is", span) from exc


def instant_text(instant: datetime) -> str:
    """Return an aware instant as configurations have it: UTC, to the second unless it has a part of one."""
    return instant.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def text_of(token: Token) -> str:
    """Return what stands between quotes; between straight ones a backslash makes the next letter itself."""
    inner = token[1:-1]
    if token[0] != '"':
        return inner
    letters = iter(inner)
    return "".join(_unescaped(next(letters)) if letter == "\\" else letter for letter in letters)


def _unescaped(letter: str) -> str:
    return _ESCAPED.get(letter, letter)


def _code(token: Token) -> str:
    return text_of(token) if token.type == "STRING" else str(token)


_FIELDS: Final[Mapping[str, Callable[[list[Token]], Mapping[str, Any]]]] = {
    "REARM": _rearm,
    "COOLDOWN": lambda values: {"rearm.cooldown": _seconds(values[0])},
    "FOR": lambda values: {"rearm.bars": finite(values[0])},
    "EXPIRES": lambda values: {"options.expires_at": _instant(values[0])},
    "MAX": lambda values: {"options.max_triggers": finite(values[0])},
    "ONCE": lambda _: {"options.max_triggers": 1},
    "LIVE": lambda _: {"options.evaluate_on": "live"},
    "NOTIFY": lambda values: {"notify.channels": [channel.lower() for channel in values]},
    "MESSAGE": lambda values: {"notify.message_template": text_of(values[0])},
    "SEVERITY": lambda values: {"notify.severity": values[0].lower()},
    "TELL": lambda _: {"notify.on": ["triggered", "rearmed"]},
    "CALENDAR": lambda values: {"calendar": _code(values[0])},
}
"""The values of a clause by their JSON paths, by its first word."""

CLAUSE_WORDS: Final = tuple(_FIELDS)
"""The first words of all clauses, in capitals."""
