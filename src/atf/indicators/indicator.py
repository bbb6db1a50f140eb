"""What an indicator is: its parameters, outputs, columns, first value and window. Pure, and without TA-Lib."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from atf.errors import InvalidInput, shown
from atf.market.bars import COLUMNS, FloatArray

ParameterValue = int | float | str

SINGLE_OUTPUT: Final = ("value",)
_LONGEST_PERIOD: Final = 1000
_DEFAULT_SOURCE: Final = "close"


@dataclass(frozen=True, slots=True)
class IndicatorRequest:
    """One checked output of one indicator; equal requests have equal values. Made by ``resolve``."""

    name: str
    params: tuple[tuple[str, ParameterValue], ...]
    output: str
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Requests are keys wherever values are shared: the hash of the nested tuples is wanted again and again.
        object.__setattr__(self, "_hash", hash((self.name, self.params, self.output)))

    def __hash__(self) -> int:
        return self._hash

    def integer(self, name: str) -> int:
        """Return an integer parameter."""
        return int(self._value(name))

    def number(self, name: str) -> float:
        """Return a numeric parameter."""
        return float(self._value(name))

    def text(self, name: str) -> str:
        """Return a text parameter."""
        return str(self._value(name))

    def _value(self, name: str) -> ParameterValue:
        for known, value in self.params:
            if known == name:
                return value
        raise KeyError(name)


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

Outputs = tuple[FloatArray, ...]
"""A column for each output, or for each input: all of one length."""

Calculation = Callable[[Outputs, IndicatorRequest], Outputs]
"""Gets finite columns and more bars than the index of the first value; returns NaN where a value is unknown, and
nothing infinite unless the numbers overflow.
"""


def without_infinite(values: FloatArray) -> FloatArray:
    """Return the values, NaN in place of infinite ones."""
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


@dataclass(frozen=True, slots=True)
class Indicator:
    """One row of the table of indicators.

    ``columns`` are those it reads, empty if its ``source`` parameter says which; ``first_index`` is the bar
    that has the first value, counted from 0 over the bars that have all columns. The first output is the
    default. ``constraint`` returns the parameter that does not fit the others, and why. ``doc`` says in a
    sentence what it tells, and its unit. ``calculation`` is what a plug-in brings along; those that ATF comes
    with have theirs in ``calculations``, where TA-Lib is loaded.
    """

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    first_index: Callable[[IndicatorRequest], int]
    longest_period: Callable[[IndicatorRequest], int]
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    columns: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    constraint: Callable[[IndicatorRequest], tuple[str, str] | None] = lambda _: None
    calculation: Calculation | None = None

    @property
    def has_source(self) -> bool:
        """Whether the user may choose the column."""
        return not self.columns

    def columns_of(self, request: IndicatorRequest) -> tuple[str, ...]:
        """Return the columns that must be finite on a bar for it to count."""
        return self.columns or (request.text("source"),)
