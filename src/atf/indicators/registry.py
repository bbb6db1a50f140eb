"""Which indicators there are: parameters, outputs, columns and windows, and the check of what users ask for.

Pure, and without TA-Lib, so that names can be checked where nothing is computed; ``calculations`` computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from atf.errors import InvalidInput, shown
from atf.market.bars import COLUMNS

ParameterValue = int | float | str

SHORTEST_WINDOW: Final = 500
"""Bars; every value is computed on at least this many, or on all there are."""

PERIODS_IN_WINDOW: Final = 20
"""A window is at least so many times the longest period; the first bar then hardly shows in the value."""

SINGLE_OUTPUT: Final = ("value",)
_LONGEST_PERIOD: Final = 1000
_DEFAULT_SOURCE: Final = "close"


@dataclass(frozen=True, slots=True)
class IndicatorRequest:
    """One checked output of one indicator; equal requests have equal values. Made by ``resolve``."""

    name: str
    params: tuple[tuple[str, ParameterValue], ...]
    output: str

    def integer(self, name: str) -> int:
        """Return an integer parameter."""
        return int(dict(self.params)[name])

    def number(self, name: str) -> float:
        """Return a numeric parameter."""
        return float(dict(self.params)[name])

    def text(self, name: str) -> str:
        """Return a text parameter."""
        return str(dict(self.params)[name])


@dataclass(frozen=True, slots=True)
class IntegerParameter:
    """A whole number of bars."""

    name: str
    default: int
    low: int
    high: int = _LONGEST_PERIOD

    def check(self, value: object, field: str) -> int:
        """Return the value; booleans and texts are not integers.

        Errors: InvalidInput.
        """
        if type(value) is int and self.low <= value <= self.high:
            return value
        raise InvalidInput(f"must be an integer from {self.low} to {self.high}, got {shown(value)}", field=field)


@dataclass(frozen=True, slots=True)
class NumberParameter:
    """A finite factor."""

    name: str
    default: float
    low: float
    high: float

    def check(self, value: object, field: str) -> float:
        """Return the value as a float.

        Errors: InvalidInput.
        """
        if isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high:
            return float(value)
        raise InvalidInput(
            f"must be a number from {self.low:g} to {self.high:g}, got {shown(value)}", field=field
        )


@dataclass(frozen=True, slots=True)
class SourceParameter:
    """The column that an indicator of one series reads."""

    name: str = "source"
    default: str = _DEFAULT_SOURCE

    def check(self, value: object, field: str) -> str:
        """Return the column's name.

        Errors: InvalidInput.
        """
        if isinstance(value, str) and value in COLUMNS:
            return value
        raise InvalidInput(f"must be one of {', '.join(COLUMNS)}, got {shown(value)}", field=field)


Parameter = IntegerParameter | NumberParameter | SourceParameter


@dataclass(frozen=True, slots=True)
class Indicator:
    """One row of the table of indicators.

    ``columns`` are those it reads, empty if its ``source`` parameter says which; ``first_index`` is the bar
    that has the first value, counted from 0 over the bars that have all columns. The first output is the
    default.
    """

    name: str
    parameters: tuple[Parameter, ...]
    first_index: Callable[[IndicatorRequest], int]
    longest_period: Callable[[IndicatorRequest], int]
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    columns: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def has_source(self) -> bool:
        """Whether the user may choose the column."""
        return not self.columns

    def columns_of(self, request: IndicatorRequest) -> tuple[str, ...]:
        """Return the columns that must be finite on a bar for it to count."""
        return self.columns or (request.text("source"),)


_SOURCE: Final = SourceParameter()

INDICATORS: Final = (
    Indicator(
        "sma",
        # A period of 1 is the source itself, which is of use where a template fills in the period.
        (IntegerParameter("period", 20, low=1), _SOURCE),
        first_index=lambda request: request.integer("period") - 1,
        longest_period=lambda request: request.integer("period"),
    ),
    Indicator(
        "ema",
        (IntegerParameter("period", 20, low=1), _SOURCE),
        first_index=lambda request: request.integer("period") - 1,
        longest_period=lambda request: request.integer("period"),
    ),
    Indicator(
        "rsi",
        (IntegerParameter("period", 14, low=2), _SOURCE),  # of one change it would be 0 or 100 only
        first_index=lambda request: request.integer("period"),
        longest_period=lambda request: request.integer("period"),
    ),
    Indicator(
        "macd",
        (
            IntegerParameter("fast", 12, low=2),
            IntegerParameter("slow", 26, low=2),
            IntegerParameter("signal", 9, low=1),
            _SOURCE,
        ),
        first_index=lambda request: request.integer("slow") + request.integer("signal") - 2,
        longest_period=lambda request: max(request.integer("slow"), request.integer("signal")),
        outputs=("macd", "signal", "hist"),
    ),
    Indicator(
        "bbands",
        (IntegerParameter("period", 20, low=2), NumberParameter("stddev", 2.0, low=0, high=100), _SOURCE),
        first_index=lambda request: request.integer("period") - 1,
        longest_period=lambda request: request.integer("period"),
        outputs=("middle", "upper", "lower"),
        aliases=("bb", "bollinger"),
    ),
    Indicator(
        "atr",
        (IntegerParameter("period", 14, low=1),),
        first_index=lambda request: request.integer("period"),
        longest_period=lambda request: request.integer("period"),
        columns=("high", "low", "close"),
    ),
    Indicator(
        "change_pct",
        (IntegerParameter("bars", 1, low=1), _SOURCE),
        first_index=lambda request: request.integer("bars"),
        longest_period=lambda request: request.integer("bars"),
    ),
)

_BY_NAME: Final = {name: found for found in INDICATORS for name in (found.name, *found.aliases)}


def names() -> tuple[str, ...]:
    """Return the names of all indicators, without aliases."""
    return tuple(found.name for found in INDICATORS)


def is_known(name: str) -> bool:
    """Tell whether an indicator has this name or alias."""
    return name in _BY_NAME


def indicator_of(request: IndicatorRequest) -> Indicator:
    """Return the definition behind a request."""
    return _BY_NAME[request.name]


@lru_cache(maxsize=4096)
def window_of(request: IndicatorRequest) -> int:
    """Return how many closed bars, up to and with its own, each value is computed on."""
    return max(SHORTEST_WINDOW, PERIODS_IN_WINDOW * indicator_of(request).longest_period(request))


def resolve(name: str, params: object, output: object = None, *, field: str = "") -> IndicatorRequest:
    """Return the request with all defaults filled in.

    Errors: InvalidInput with the path below ``field``: an unknown name, parameter or output, a value of a
            wrong type or out of range.
    """
    indicator = _find(name, _join(field, "indicator"))
    params_field = _join(field, "params")
    if not isinstance(params, Mapping):
        raise InvalidInput(f"must be an object, got {shown(params)}", field=params_field)
    _reject_unknown(indicator, params, params_field)
    checked = tuple(
        (known.name, known.check(params.get(known.name, known.default), _join(params_field, known.name)))
        for known in indicator.parameters
    )
    request = IndicatorRequest(indicator.name, checked, _output(indicator, output, _join(field, "output")))
    _reject_crossed_periods(request, params_field)
    return request


def _find(name: str, field: str) -> Indicator:
    if name in _BY_NAME:
        return _BY_NAME[name]
    close = get_close_matches(name.lower(), _BY_NAME, n=1)
    advice = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names())}"
    raise InvalidInput(f"unknown indicator '{name}'; {advice}", field=field)


def _reject_unknown(indicator: Indicator, params: Mapping[str, object], field: str) -> None:
    allowed = [known.name for known in indicator.parameters]
    for name in params:
        if name not in allowed:
            raise InvalidInput(
                f"unknown parameter '{name}' of {indicator.name}; allowed: {', '.join(allowed)}",
                field=_join(field, name),
            )


def _reject_crossed_periods(request: IndicatorRequest, field: str) -> None:
    # TA-Lib exchanges the two without a word, and the sign of the MACD would not be what was asked for.
    if request.name == "macd" and request.integer("fast") >= request.integer("slow"):
        slow, fast = request.integer("slow"), request.integer("fast")
        raise InvalidInput(f"must be less than slow ({slow}), got {fast}", field=_join(field, "fast"))


def _output(indicator: Indicator, output: object, field: str) -> str:
    if output is None:
        return indicator.outputs[0]
    if indicator.outputs == SINGLE_OUTPUT:
        raise InvalidInput(f"{indicator.name} has one output only; leave this out", field=field)
    if not isinstance(output, str) or output not in indicator.outputs:
        allowed = ", ".join(indicator.outputs)
        raise InvalidInput(f"unknown output '{output}' of {indicator.name}; allowed: {allowed}", field=field)
    return output


def _join(field: str, part: str) -> str:
    return f"{field}.{part}" if field else part
