"""Files that are tables with a header: CSV, JSON or Parquet, read into named columns and rows.

What the columns mean is in ``universe_files`` and ``fundamental_files``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atf.adapters.providers.bar_columns import broken
from atf.adapters.providers.csv_bars import lines_of, open_text, reading_gzip, text_of
from atf.adapters.providers.parquet_bars import import_arrow, require_few_rows
from atf.errors import InvalidInput
from atf.market.symbols import canonical
from atf.security.limits import LARGEST_TABLE, MOST_TABLE_ROWS

SYMBOL_NAMES: Final = ("symbol", "ticker")


@dataclass(frozen=True, slots=True)
class Table:
    """The header as it is written, and each row with its place, such as "line 3"."""

    names: tuple[str, ...]
    rows: Sequence[tuple[str, Sequence[object]]]

    def find(self, *names: str) -> int | None:
        """Return the column with one of these names, in any case; the first name that is there counts."""
        plain = [name.strip().lower() for name in self.names]
        return next((plain.index(name) for name in names if name in plain), None)


def read_table(path: Path) -> Table:
    """Read a .csv, .csv.gz, .json, .json.gz or .parquet file as a whole.

    Errors: InvalidInput with file, line or item, and column; ConfigurationError if Parquet support is not
            installed; OSError as the system raises it.
    """
    return reader_of(path, _READERS)(path)


def reader_of(path: Path, readers: Mapping[str, Callable[[Path], Table]]) -> Callable[[Path], Table]:
    """Return the reader for the ending of a file. Errors: InvalidInput that lists the endings."""
    found = next((read for ending, read in readers.items() if path.name.lower().endswith(ending)), None)
    if found is None:
        raise broken(path, f"not a kind of file that can be read; allowed are {', '.join(readers)}")
    return found


def read_csv_table(path: Path) -> Table:
    """Read a CSV file with a header, plain or gzipped."""
    rows = read_csv_rows(path)
    if not rows:
        raise broken(path, "is empty; its first line must name the columns", place="line 1")
    (_, header), *rest = rows
    for place, cells in rest:
        if len(cells) != len(header):
            raise broken(path, f"{len(cells)} cells, but the header has {len(header)}", place=place)
    return Table(tuple(header), rest)


def read_csv_rows(path: Path) -> list[tuple[str, list[str]]]:
    """Read the rows of a CSV file that are not empty, each with its line."""
    try:
        with reading_gzip(path), open_text(path) as file:
            reader = csv.reader(lines_of(path, file, LARGEST_TABLE), strict=True)
            return [(f"line {reader.line_num}", cells) for cells in reader if cells]
    except csv.Error as exc:
        raise broken(path, f"not a CSV file: {exc}") from exc


def read_json_table(path: Path) -> Table:
    """Read a list of objects, or of texts, which are symbols; an object lacks a column if it is not known."""
    items = _json_items(path)
    if items and all(isinstance(item, str) for item in items):
        return Table(("symbol",), [(f"item {number}", [item]) for number, item in enumerate(items)])
    names: dict[str, None] = {}
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise broken(path, 'not an object as {"symbol": "AAPL"} is one', place=f"item {number}")
        names |= dict.fromkeys(item)
    rows = [(f"item {number}", [item.get(name) for name in names]) for number, item in enumerate(items)]
    return Table(tuple(names), rows)


def _json_items(path: Path) -> list[Any]:
    try:
        with reading_gzip(path), open_text(path) as file:
            found = json.loads(text_of(path, file, LARGEST_TABLE))
    except json.JSONDecodeError as exc:
        raise broken(path, f"not JSON: {exc.msg}", place=f"line {exc.lineno}") from exc
    except (ValueError, RecursionError) as exc:  # such as a number of thousands of digits, or a deep nesting
        raise broken(path, f"not JSON that can be read: {exc}") from exc
    if not isinstance(found, list):
        raise broken(path, "not a list of objects or of symbols")
    return found


def read_parquet_table(path: Path) -> Table:
    """Read a Parquet file; rows count from 0."""
    arrow, parquet = import_arrow()
    try:
        with parquet.ParquetFile(path) as file:
            require_few_rows(path, file, MOST_TABLE_ROWS)
            table = file.read()
        columns = [column.to_pylist() for column in table.columns]
    except (arrow.ArrowException, ValueError, OverflowError) as exc:
        raise broken(path, f"not a Parquet file that can be read: {exc}") from exc
    except OSError as exc:
        if exc.errno is not None:
            raise
        # Arrow's word for a file whose inside is damaged; the system's own errors have a number.
        raise broken(path, f"not a whole Parquet file: {exc}") from exc
    rows = [(f"row {number}", cells) for number, cells in enumerate(zip(*columns, strict=True))]
    return Table(tuple(table.column_names), rows)


def symbol_cell(path: Path, place: str, column: str, cell: object) -> str:
    """Return the canonical symbol of a cell. Errors: InvalidInput with file, place and column."""
    try:
        return canonical(cell if isinstance(cell, str) else "" if cell is None else str(cell))
    except InvalidInput as exc:
        raise broken(path, exc.reason, place=place, column=column) from exc


_READERS: Final[Mapping[str, Callable[[Path], Table]]] = {
    ".csv": read_csv_table,
    ".csv.gz": read_csv_table,
    ".json": read_json_table,
    ".json.gz": read_json_table,
    ".parquet": read_parquet_table,
}
