"""What the templates of alerts take: bars, amounts and choices, each with its range and a few words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final

from atf.errors import InvalidInput, shown
from atf.indicators.indicator import IntegerParameter

Value = int | float | str

_MOST_BARS: Final = 1000
_LARGEST: Final = 1e12


@dataclass(frozen=True, slots=True)
class Bars:
    """A whole number of bars."""

    name: str
    doc: str
    default: int
    low: int = 2
    high: int = _MOST_BARS

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        return f"{self.low} to {self.high}"

    def check(self, value: object, field: str) -> int:
        """Return the value. Errors: InvalidInput."""
        return IntegerParameter(self.name, self.default, self.low, self.high).check(value, field)


@dataclass(frozen=True, slots=True)
class Amount:
    """A number above ``low`` up to ``high``; without a default it must be given."""

    name: str
    doc: str
    default: float | None
    low: float = 0
    high: float = _LARGEST

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        return f"above {self.low:g}, up to {self.high:g}"

    def check(self, value: object, field: str) -> float:
        """Return the value. Errors: InvalidInput."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, int | float) and is_number and self.low < value <= self.high and isfinite(value):
            return value
        raise InvalidInput(f"must be a number {self.allowed}, got {shown(value)}", field=field)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    name: str
    doc: str
    default: str
    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        return ", ".join(self.words)

    def check(self, value: object, field: str) -> str:
        """Return the value. Errors: InvalidInput."""
        if isinstance(value, str) and value in self.words:
            return value
        raise InvalidInput(f"must be one of {self.allowed}; got {shown(value)}", field=field)


Parameter = Bars | Amount | Choice
