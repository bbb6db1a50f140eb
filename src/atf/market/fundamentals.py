"""Fundamentals of companies: dated rows, and the units that numbers have inside ATF. Pure.

The newest row on or before a day is what was known on it. Which column of a file holds what is not known here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Final

from atf.errors import InvalidInput, shown

_MISSING: Final = frozenset({"", "-", "--", "na", "n/a", "#n/a", "nan", "null", "none", "inf", "infinity"})
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_PLAIN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SUFFIXES: Final = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_HUNDRED: Final = Decimal(100)


@dataclass(frozen=True, slots=True)
class Fundamentals:
    """What was known of a company on a day; None is what was not.

    Units: market cap in units of ``currency``, earnings per share likewise; the dividend yield of a year as a
           fraction (0.0175); the volume in shares a day; price/earnings as a plain ratio.
    Errors: InvalidInput whose ``field`` is the attribute: a number that is not finite, a negative market cap or
            volume, a yield outside of 0 to 1, text that cannot be stored.
    """

    symbol: str
    as_of: date
    name: str | None = None
    sector: str | None = None
    industry: str | None = None
    currency: str | None = None
    market_cap: float | None = None
    pe: float | None = None
    eps: float | None = None
    dividend_yield: float | None = None
    average_volume: float | None = None

    def __post_init__(self) -> None:
        for field in TEXTS:
            _require_storable(field, getattr(self, field))
        for field in NUMBERS:
            _require_possible(field, getattr(self, field))


TEXTS: Final = ("name", "sector", "industry", "currency")
NUMBERS: Final = ("market_cap", "pe", "eps", "dividend_yield", "average_volume")
FIELDS: Final = tuple(field.name for field in fields(Fundamentals))
_NEVER_NEGATIVE: Final = frozenset({"market_cap", "average_volume", "dividend_yield"})


def parse_number(cell: object) -> float | None:
    """Return a plain number; None if the cell says that there is none: empty, N/A, NaN or infinite.

    Errors: ValueError that says what is allowed.
    """
    if not isinstance(cell, str):
        return _finite(cell)
    text = cell.strip()
    if text.lower().lstrip("+-") in _MISSING:
        return None
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"{shown(cell)} is not a number such as 31.79 or -1,250.5; N/A means there is none")
    return _finite(float(text))


def parse_amount(cell: object) -> float | None:
    """Return a number that may end in K, M, B or T for thousands, millions, billions (10^9), trillions (10^12).

    Errors: ValueError that says what is allowed.
    """
    text = cell.strip().upper() if isinstance(cell, str) else ""
    factor = _SUFFIXES.get(text[-1:])
    if factor is None:
        return parse_number(cell)
    try:
        # In decimals, as 2.3 times a million in binary is not 2300000.
        number = Decimal(text[:-1].strip().replace(",", "")) if parse_number(text[:-1]) is not None else None
    except ValueError:
        number = None
    if number is None:
        raise ValueError(f"{shown(cell)} is not an amount such as 92293693440, 92.3B or 1.5M")
    return _finite(number * factor)


def parse_yield(cell: object, *, is_percent: bool) -> float | None:
    """Return a dividend yield as a fraction; a cell that ends in % is one in percent wherever it is.

    Errors: ValueError that says what is allowed; one above 1 is no fraction.
    """
    text = cell.strip() if isinstance(cell, str) else ""
    has_sign = text.endswith("%")
    number = parse_number(text[:-1] if has_sign else cell)
    if number is None:
        return None
    if not has_sign and not is_percent and number > 1:
        raise ValueError(
            f"a yield of {number:g} is above 1, but the column holds fractions such as 0.0175; "
            "if it holds percent, say so in its name: 'dividend yield (%)'"
        )
    # In decimals, as 1.75 percent is 0.0175 and not 0.017499999999999998.
    return float(Decimal(str(number)) / _HUNDRED) if has_sign or is_percent else number


def _finite(number: object) -> float | None:
    """Return a number as a float, None for one that is not there or that a float does not hold."""
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float | Decimal):
        raise ValueError(f"{shown(number)} is not a number")
    try:
        found = float(number)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _require_possible(field: str, number: float | None) -> None:
    if number is None:
        return
    if not math.isfinite(number):
        raise InvalidInput("must be a finite number, or nothing if it is not known", field=field)
    if number < 0 and field in _NEVER_NEGATIVE:
        raise InvalidInput(f"must be 0 or more, got {number:g}", field=field)
    if number > 1 and field == "dividend_yield":
        raise InvalidInput(f"must be a fraction from 0 to 1, got {number:g}", field=field)


def _require_storable(field: str, value: str | None) -> None:
    if value is not None and not value.isprintable():
        raise InvalidInput("must be a line of printable text", field=field)
