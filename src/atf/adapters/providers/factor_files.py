"""Files of adjustment factors: CSV with a date, a price factor and a split factor a row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

from atf.adapters.providers.bar_columns import broken
from atf.adapters.providers.csv_bars import lines_of
from atf.errors import InvalidInput
from atf.market.adjustment import AdjustmentFactor
from atf.security.limits import LARGEST_TABLE

_COLUMNS: Final = ("date", "price_factor", "split_factor")
_FIRST_YEAR: Final = 1678
_LAST_YEAR: Final = 2261
"""Bars, whose times are nanoseconds since 1970 in 64 bits, do not reach further."""


def read_factors(path: Path) -> tuple[AdjustmentFactor, ...]:
    """Read the columns date, price_factor and split_factor of a CSV file; others are left aside.

    Rows may be in any order and are returned oldest first.

    Errors: InvalidInput with file, line and column, also for a date that comes twice; OSError as the system
            raises it.
    """
    rows: dict[date, AdjustmentFactor] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, factor in _factors(path, csv.DictReader(lines_of(path, file, LARGEST_TABLE), strict=True)):
                if factor.until_date in rows:
                    raise _broken_at(path, line, "date", f"has {factor.until_date} twice")
                rows[factor.until_date] = factor
    except UnicodeDecodeError as exc:
        raise broken(path, "not UTF-8 text") from exc
    except csv.Error as exc:
        raise broken(path, f"not a CSV file: {exc}") from exc
    return tuple(sorted(rows.values()))


def _factors(path: Path, reader: csv.DictReader[str]) -> Iterator[tuple[int, AdjustmentFactor]]:
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        what = f"has no column {' and no column '.join(missing)}; needed are {', '.join(_COLUMNS)}"
        raise broken(path, what)
    for row in reader:
        line = reader.line_num
        numbers = (_number(path, line, name, row[name]) for name in _COLUMNS[1:])
        try:
            yield line, AdjustmentFactor(_day(path, line, row["date"]), *numbers)
        except InvalidInput as exc:
            if exc.field not in _COLUMNS:
                raise
            raise _broken_at(path, line, exc.field, exc.reason) from exc


def _day(path: Path, line: int, text: str | None) -> date:
    try:
        day = date.fromisoformat((text or "").strip())
    except ValueError:
        raise _broken_at(path, line, "date", f"{text!r} is not a date such as 2024-01-31") from None
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise _broken_at(path, line, "date", f"{day} is outside the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return day


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise _broken_at(path, line, column, f"{text!r} is not a number") from None


def _broken_at(path: Path, line: int, column: str, what: str) -> InvalidInput:
    return broken(path, what, place=f"line {line}", column=column)
