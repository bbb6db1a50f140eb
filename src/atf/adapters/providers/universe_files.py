"""Files of symbols: a table with a column of them, or one symbol a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from atf.adapters.providers.bar_columns import broken
from atf.adapters.providers.table_files import (
    SYMBOL_NAMES,
    Table,
    read_csv_rows,
    read_json_table,
    read_parquet_table,
    reader_of,
    symbol_cell,
)

_COMMENT: Final = "#"


def read_symbols(path: Path) -> tuple[str, ...]:
    """Return the symbols of a file, canonical, sorted, each once.

    The column ``symbol`` or ``ticker`` counts; a .csv or .txt file without one has one symbol a line, where lines
    that begin with # are left aside. A .json file may be a list of symbols.

    Errors: InvalidInput with file, line and column, also if there is no symbol at all; ConfigurationError if
            Parquet support is not installed; OSError as the system raises it.
    """
    table = reader_of(path, _READERS)(path)
    column = table.find(*SYMBOL_NAMES)
    if column is None and table.rows:
        raise broken(path, f"no column {' or '.join(SYMBOL_NAMES)}; found: {', '.join(table.names)}")
    if column is None or not table.rows:
        raise broken(path, "has no symbols")
    name = table.names[column]
    return tuple(sorted({symbol_cell(path, place, name, cells[column]) for place, cells in table.rows}))


def _read_lines(path: Path) -> Table:
    """Read a table with a header, or one symbol a line."""
    rows = [(place, cells) for place, cells in read_csv_rows(path) if not _is_empty(cells)]
    if not rows:
        return Table(SYMBOL_NAMES[:1], [])
    header = Table(tuple(rows[0][1]), rows[1:])
    if header.find(*SYMBOL_NAMES) is None and len(header.names) > 1:
        raise broken(
            path,
            f"no column {' or '.join(SYMBOL_NAMES)}; found: {', '.join(header.names)}; "
            "allowed is also one symbol a line",
            place=rows[0][0],
        )
    for place, cells in rows:
        if len(cells) != len(header.names):
            raise broken(path, f"{len(cells)} cells, but the first line has {len(header.names)}", place=place)
    return header if header.find(*SYMBOL_NAMES) is not None else Table(SYMBOL_NAMES[:1], rows)


def _is_empty(cells: list[str]) -> bool:
    return cells[0].lstrip().startswith(_COMMENT) or not any(cell.strip() for cell in cells)


_READERS: Final[Mapping[str, Callable[[Path], Table]]] = {
    **dict.fromkeys((".csv", ".csv.gz", ".txt", ".txt.gz"), _read_lines),
    **dict.fromkeys((".json", ".json.gz"), read_json_table),
    ".parquet": read_parquet_table,
}
