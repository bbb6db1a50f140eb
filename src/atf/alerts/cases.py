"""Golden cases: alerts, the bars they are fed, and what must come of them, as a file says it. Pure.

Only the file's own form is checked here. Configurations are kept as they are given: whether they are refused is
what some cases are about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from math import nan
from typing import Any, Final

from atf.errors import InvalidInput, shown
from atf.market.bars import Bars

BarRow = tuple[datetime, float, float, float, float, float]

MOST_WORKERS: Final = 16
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_BAR: Final = "must be [time, open, high, low, close, volume]"
_ALIKE: Final = 0.75
"""An unknown field is taken for a misspelt one from this likeness on; others are remarks of the file's author."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """An edit, after the bar with this index was evaluated."""

    after: int
    config: Any


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must come of a case; None where the file expects nothing."""

    trigger_bar_times: tuple[datetime, ...] | None = None
    final_state_status: str | None = None
    final_data_status: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """An alert and what happens to it.

    ``bars`` are as given, in any order and perhaps some twice; ``feed`` has how many of them each evaluation is
    given. After the bars with the indices ``restarts_at`` the evaluator is built anew. So many ``workers``
    evaluate at once.

    Time: None in ``now`` means that all fed bars are closed.
    """

    name: str
    config: Any
    bars: tuple[BarRow, ...]
    feed: tuple[int, ...]
    restarts_at: frozenset[int]
    config_changes: tuple[ConfigChange, ...]
    created_at: datetime
    now: datetime | None
    workers: int
    expected: Expectation | None

    def fed(self, count: int) -> Bars:
        """Return the first ``count`` bars of the file."""
        return Bars.from_rows(list(self.bars[:count]))


@dataclass(frozen=True, slots=True)
class InvalidConfig:
    """A configuration that must be refused, at the JSON path that is expected (None: not looked at)."""

    name: str
    config: Any
    expected_error_path: str | None


@dataclass(frozen=True, slots=True)
class CaseFile:
    """All that a file of cases says."""

    cases: tuple[Case, ...]
    invalid_configs: tuple[InvalidConfig, ...]


_TOP_FIELDS: Final = ("format", "cases", "invalid_configs")
_CASE_FIELDS: Final = (
    "name",
    "why",
    "config",
    "bars",
    "feed",
    "restarts_at",
    "config_changes",
    "created_at",
    "now",
    "workers",
    "expected",
)
_CHANGE_FIELDS: Final = ("after", "config")
_EXPECTED_FIELDS: Final = ("trigger_bar_times", "final_state_status", "final_data_status")
_INVALID_FIELDS: Final = ("name", "why", "config", "expected_error_path")


def parse_cases(document: object, *, with_expected: bool) -> CaseFile:
    """Return the cases of a document; what they expect is read only ``with_expected``.

    Errors: InvalidInput whose field is the place in the document, such as ``cases[3].bars[2]``.
    """
    found = _object(document, "", _TOP_FIELDS)
    if "cases" not in found and "invalid_configs" not in found:
        raise InvalidInput("has neither 'cases' nor 'invalid_configs'")
    cases = _list(found.get("cases", []), "cases")
    invalid = _list(found.get("invalid_configs", []), "invalid_configs")
    return CaseFile(
        tuple(_case(each, f"cases[{n}]", with_expected) for n, each in enumerate(cases)),
        tuple(_invalid(each, f"invalid_configs[{n}]", with_expected) for n, each in enumerate(invalid)),
    )


def _case(given: object, place: str, with_expected: bool) -> Case:
    fields = _object(given, place, _CASE_FIELDS)
    bars = tuple(
        _bar(row, f"{place}.bars[{n}]")
        for n, row in enumerate(_list(_required(fields, "bars", place), f"{place}.bars"))
    )
    if not bars:
        raise InvalidInput("must have at least one bar", field=f"{place}.bars")
    now = fields.get("now")
    return Case(
        name=_text(_required(fields, "name", place), f"{place}.name"),
        config=_required(fields, "config", place),
        bars=bars,
        feed=_feed(fields, place, len(bars)),
        restarts_at=frozenset(_indices(fields.get("restarts_at", []), f"{place}.restarts_at", len(bars))),
        config_changes=_changes(fields.get("config_changes", []), f"{place}.config_changes", len(bars)),
        created_at=_instant(fields["created_at"], f"{place}.created_at")
        if "created_at" in fields
        else min(bar[0] for bar in bars),
        now=None if now is None else _instant(now, f"{place}.now"),
        workers=_integer(fields.get("workers", 1), f"{place}.workers", 1, MOST_WORKERS),
        expected=_expected(_required(fields, "expected", place), f"{place}.expected") if with_expected else None,
    )


def _feed(fields: Mapping[str, Any], place: str, count: int) -> tuple[int, ...]:
    if "feed" not in fields:
        return tuple(range(1, count + 1))
    given = _list(fields["feed"], f"{place}.feed")
    return tuple(_integer(one, f"{place}.feed[{n}]", 0, count) for n, one in enumerate(given))


def _indices(given: object, place: str, count: int) -> list[int]:
    return [_integer(one, f"{place}[{n}]", 0, count - 1) for n, one in enumerate(_list(given, place))]


def _changes(given: object, place: str, count: int) -> tuple[ConfigChange, ...]:
    return tuple(_change(one, f"{place}[{n}]", count) for n, one in enumerate(_list(given, place)))


def _change(given: object, place: str, count: int) -> ConfigChange:
    fields = _object(given, place, _CHANGE_FIELDS)
    after = _integer(_required(fields, "after", place), f"{place}.after", 0, count - 1)
    return ConfigChange(after, _required(fields, "config", place))


def _expected(given: object, place: str) -> Expectation:
    fields = _object(given, place, _EXPECTED_FIELDS)
    if not any(name in fields for name in _EXPECTED_FIELDS):
        raise InvalidInput(f"has none of {', '.join(_EXPECTED_FIELDS)}", field=place)
    times = None
    if "trigger_bar_times" in fields:
        listed = _list(fields["trigger_bar_times"], f"{place}.trigger_bar_times")
        times = tuple(_instant(one, f"{place}.trigger_bar_times[{n}]") for n, one in enumerate(listed))
    statuses = {name: _text(fields[name], f"{place}.{name}") for name in _EXPECTED_FIELDS[1:] if name in fields}
    return Expectation(times, **statuses)


def _invalid(given: object, place: str, with_expected: bool) -> InvalidConfig:
    fields = _object(given, place, _INVALID_FIELDS)
    path = None
    if with_expected:
        path = _text(_required(fields, "expected_error_path", place), f"{place}.expected_error_path")
    name = _text(_required(fields, "name", place), f"{place}.name")
    return InvalidConfig(name, _required(fields, "config", place), path)


def _bar(given: object, place: str) -> BarRow:
    if not isinstance(given, list) or len(given) != 6:
        raise InvalidInput(f"{_BAR}, got {shown(given)}", field=place)
    opens, high, low, close, volume = (_value(value, f"{place}[{n}]") for n, value in enumerate(given[1:], 1))
    return _instant(given[0], f"{place}[0]"), opens, high, low, close, volume


def _value(given: object, place: str) -> float:
    """Return a number; null is a missing value, as NaN and what is infinite will be."""
    if given is None:
        return nan
    if isinstance(given, int | float) and not isinstance(given, bool):
        try:
            return float(given)
        except OverflowError:
            pass
    raise InvalidInput(f"must be a number or null, got {shown(given)}", field=place)


def _instant(given: object, place: str) -> datetime:
    if isinstance(given, str):
        try:
            instant = datetime.fromisoformat(given)
            if instant.tzinfo is not None and _FIRST <= instant < _LAST:
                return instant.astimezone(UTC)
        except ValueError:
            pass
    raise InvalidInput(
        f"must be a time with its zone such as 2026-01-05T00:00:00Z, of the years 1900 to 2199, "
        f"got {shown(given)}",
        field=place,
    )


def _object(given: object, place: str, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise InvalidInput(f"must be an object, got {shown(given)}", field=place)
    for name in given:
        near = [] if name in known else get_close_matches(name, known, n=1, cutoff=_ALIKE)
        if near:
            raise InvalidInput(f"unknown field; did you mean {near[0]!r}?", field=_within(place, name))
    return given


def _required(fields: Mapping[str, Any], name: str, place: str) -> Any:
    if name not in fields:
        raise InvalidInput("is missing", field=_within(place, name))
    return fields[name]


def _within(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _list(given: object, place: str) -> list[Any]:
    if not isinstance(given, list):
        raise InvalidInput(f"must be a list, got {shown(given)}", field=place)
    return given


def _text(given: object, place: str) -> str:
    if not isinstance(given, str):
        raise InvalidInput(f"must be a text, got {shown(given)}", field=place)
    return given


def _integer(given: object, place: str, least: int, most: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not least <= given <= most:
        raise InvalidInput(f"must be a whole number from {least} to {most}, got {shown(given)}", field=place)
    return given
