"""Files of fundamentals: which of their columns is what, under the names that files usually have."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from atf.adapters.providers.bar_columns import broken
from atf.adapters.providers.table_files import SYMBOL_NAMES, Table, read_table, symbol_cell
from atf.errors import InvalidInput
from atf.market.fundamentals import TEXTS, Fundamentals, parse_amount, parse_number, parse_yield

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "symbol": SYMBOL_NAMES,
    "as_of": ("as_of", "as_of_date", "date"),
    "name": ("name", "company", "company_name"),
    "sector": ("sector",),
    "industry": ("industry", "sub_industry"),
    "currency": ("currency",),
    "market_cap": ("market_cap", "marketcap", "market_capitalization"),
    "pe": ("pe", "pe_ratio", "trailing_pe", "price_earnings", "p_e"),
    "eps": ("eps", "trailing_eps", "earnings_per_share"),
    "dividend_yield": ("dividend_yield", "yield"),
    "average_volume": ("average_volume", "avg_volume", "volume"),
}
"""Names of columns, in small letters with _ for all that is no letter; the first one that is there counts."""
_PERCENT: Final = re.compile(r"%|(?<![a-z])(percent|pct)(?![a-z])")
_OTHER: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class FundamentalsFile:
    """The rows of a file; ``repeated`` counts rows left out as a later one is of the same symbol and day."""

    rows: tuple[Fundamentals, ...]
    repeated: int


@dataclass(frozen=True, slots=True)
class _Column:
    index: int
    name: str
    parse: Callable[[object], Any]


def read_fundamentals(path: Path, default_as_of: date, *, as_of: date | None = None) -> FundamentalsFile:
    """Read a .csv, .csv.gz, .json, .json.gz or .parquet file with a column of symbols.

    Columns that are not known are left aside. ``as_of`` is the day of all rows of a file without a column of
    days; without both it is ``default_as_of``. Of several rows of one symbol and day the last one counts.

    Units:  a yield in a column whose name says %, percent or pct, or in a cell that ends in %, is divided by 100.
    Errors: InvalidInput with file, line and column, for a yield above 1 in a column of fractions too, and if
            ``as_of`` is given for a file that has days; ConfigurationError if Parquet support is not installed;
            OSError as the system raises it.
    """
    table = read_table(path)
    columns = _columns(path, table)
    if "as_of" in columns and as_of is not None:
        raise broken(path, "has a day in each row; leave out --as-of", column=columns["as_of"].name)
    found: dict[tuple[str, date], Fundamentals] = {}
    for place, cells in table.rows:
        row = _row(path, place, columns, cells, as_of or default_as_of)
        found[row.symbol, row.as_of] = row
    return FundamentalsFile(tuple(found.values()), len(table.rows) - len(found))


def _columns(path: Path, table: Table) -> dict[str, _Column]:
    plain = [_plain(name) for name in table.names]
    found: dict[str, _Column] = {}
    for field, aliases in ALIASES.items():
        alias = next((each for each in aliases if each in plain), None)
        if alias is None:
            continue
        index = plain.index(alias)
        if plain.count(alias) > 1:
            raise broken(path, f"there is more than one column of {field}", column=table.names[index])
        is_percent = _PERCENT.search(table.names[index].lower()) is not None
        found[field] = _Column(index, table.names[index], _parser(field, is_percent=is_percent))
    names = ", ".join(table.names) or "none"
    if "symbol" not in found:
        raise broken(path, f"no column {' or '.join(SYMBOL_NAMES)}; found: {names}")
    if not found.keys() - {"symbol", "as_of"}:
        known = ", ".join(field for field in ALIASES if field not in ("symbol", "as_of"))
        raise broken(path, f"no column of fundamentals ({known}); found: {names}")
    return found


def _plain(name: str) -> str:
    return _OTHER.sub("_", _PERCENT.sub("", name.lower())).strip("_")


def _parser(field: str, *, is_percent: bool) -> Callable[[object], Any]:
    if field in TEXTS:
        return _text
    if field == "dividend_yield":
        return partial(parse_yield, is_percent=is_percent)
    if field == "as_of":
        return _day
    return parse_amount if field in ("market_cap", "average_volume") else parse_number


def _row(path: Path, place: str, columns: Mapping[str, _Column], cells: Any, as_of: date) -> Fundamentals:
    symbol = columns["symbol"]
    values: dict[str, Any] = {"as_of": as_of}
    for field, column in columns.items():
        if field == "symbol":
            continue
        try:
            values[field] = column.parse(cells[column.index])
        except ValueError as exc:
            raise broken(path, str(exc), place=place, column=column.name) from exc
    try:
        return Fundamentals(symbol_cell(path, place, symbol.name, cells[symbol.index]), **values)
    except InvalidInput as exc:
        if exc.field not in columns:
            raise
        raise broken(path, exc.reason, place=place, column=columns[exc.field].name) from exc


def _text(cell: object) -> str | None:
    """Return text with single blanks, as names of companies come with those that do not break."""
    text = "" if cell is None else " ".join(str(cell).split())
    return None if text.lower() in ("", "n/a", "nan", "none", "null") else text


def _day(cell: object) -> date:
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    text = str(cell).strip()
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise ValueError(f"{text!r} is not a day such as 2024-01-31") from None
