"""The fields of a cron expression: from text to allowed numbers, with messages that name the field.

Pure: no zone, no date and no clock. ``cron_parser`` puts the fields together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from atf.errors import InvalidCron

_NO_NAMES: Final[tuple[str, ...]] = ()
_MONTH_NAMES: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAY_NAMES: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST_NUMBER: Final = 9


@dataclass(frozen=True, slots=True)
class FieldKind:
    """What one field may hold: numbers from ``low`` to ``high``, or names counted from ``low``.

    ``size`` is the largest step; a step beyond it could only be a slip.
    """

    name: str
    low: int
    high: int
    size: int
    names: tuple[str, ...] = _NO_NAMES

    def parse(self, text: str) -> frozenset[int]:
        """Return the numbers that ``text``, in capitals, allows.

        Errors: InvalidCron naming the field and what is wrong with it.
        """
        return frozenset(number for term in text.split(",") for number in self._term(term))

    def _term(self, term: str) -> Iterable[int]:
        base, slash, step_text = term.partition("/")
        step = self._step(step_text) if slash else 1
        first, last = self._range(base, open_ended=bool(slash))
        return range(first, last + 1, step)

    def _range(self, base: str, *, open_ended: bool) -> tuple[int, int]:
        """Return the bounds of ``*``, ``n`` or ``n-m``; with a step, ``n`` alone runs to the field's end."""
        if base == "*":
            return self.low, self.high
        first_text, dash, last_text = base.partition("-")
        first = self._number(first_text)
        if not dash:
            return first, self.high if open_ended else first
        last = self._number(last_text)
        if last < first:
            raise self._error(f"range {base} runs backwards")
        return first, last

    def _step(self, text: str) -> int:
        step = _plain_number(text)
        if step is None or not 1 <= step <= self.size:
            raise self._error(f"bad step '{text}'")
        return step

    def _number(self, text: str) -> int:
        if text in self.names:
            return self.low + self.names.index(text)
        number = _plain_number(text)
        if number is None:
            raise self._error(f"'{text}' is not a number")
        if not self.low <= number <= self.high:
            raise self._error(f"{number} is outside {self.low}-{self.high}")
        return number

    def _error(self, reason: str) -> InvalidCron:
        return InvalidCron(f"{self.name}: {reason}", field="cron")


def _plain_number(text: str) -> int | None:
    """Return the value of ASCII digits; None for all else, also for more digits than any field can mean."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
    return int(text) if is_number else None


SECOND: Final = FieldKind("second", 0, 59, size=60)
MINUTE: Final = FieldKind("minute", 0, 59, size=60)
HOUR: Final = FieldKind("hour", 0, 23, size=24)
DAY_OF_MONTH: Final = FieldKind("day-of-month", 1, 31, size=31)
MONTH: Final = FieldKind("month", 1, 12, size=12, names=_MONTH_NAMES)
DAY_OF_WEEK: Final = FieldKind("day-of-week", 0, 7, size=7, names=_DAY_NAMES)
