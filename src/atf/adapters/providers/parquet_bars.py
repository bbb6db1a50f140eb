"""Parquet files of bars; pyarrow is an extra, and slow to load, so it is imported with the first file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atf.adapters.providers.bar_columns import FileRows, Layout, broken
from atf.adapters.providers.file_times import epoch_nanoseconds, lacks_offset, parse_time
from atf.errors import ConfigurationError
from atf.market.bars import COLUMNS, FloatArray, TimeArray
from atf.security.limits import MOST_BAR_ROWS


def read_parquet(path: Path) -> FileRows:
    """Read the columns that are wanted.

    Errors: InvalidInput with file and column; ConfigurationError without the extra; OSError.
    """
    arrow, parquet = import_arrow()
    try:
        with parquet.ParquetFile(path) as file:
            layout = _layout(path, file.schema_arrow.names)
            require_few_rows(path, file, MOST_BAR_ROWS)
            table = file.read(columns=[layout.names[i] for i in _wanted(layout)])
    except (arrow.ArrowException, UnicodeDecodeError) as exc:
        raise broken(path, f"not a Parquet file that can be read: {exc}") from exc
    except OSError as exc:
        if exc.errno is not None:
            raise
        # Arrow's word for a file whose inside is damaged; the system's own errors have a number.
        raise broken(path, f"not a whole Parquet file: {exc}") from exc
    return FileRows(
        _times(arrow, path, layout.names[layout.time], table),
        _all_values(arrow, path, layout, table),
        None if layout.symbol is None else _symbols(arrow, path, layout.names[layout.symbol], table),
        _lack_offset(arrow, table.column(layout.names[layout.time])),
    )


def import_arrow() -> tuple[Any, Any]:
    """Return pyarrow and pyarrow.parquet. Errors: ConfigurationError if they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise ConfigurationError("Parquet files need an extra: pip install 'atf[parquet]'") from exc
    return pyarrow, pyarrow.parquet


def require_few_rows(path: Path, file: Any, most: int) -> None:
    """Refuse a Parquet file of too many rows before any is unpacked. Errors: InvalidInput."""
    if file.metadata.num_rows > most:
        raise broken(path, f"has {file.metadata.num_rows:,} rows; at most {most:,} are read")


def _layout(path: Path, names: Sequence[str]) -> Layout:
    try:
        return Layout.of(names)
    except ValueError as exc:
        raise broken(path, str(exc)) from exc


def _wanted(layout: Layout) -> list[int]:
    symbol = [] if layout.symbol is None else [layout.symbol]
    return [layout.time, *(i for each in layout.values for i in each), *symbol]


def _times(arrow: Any, path: Path, name: str, table: Any) -> TimeArray:
    column = table.column(name)
    if column.null_count:
        raise broken(path, "a time is missing", column=name)
    try:
        if arrow.types.is_temporal(column.type):
            unit = arrow.timestamp("ns", tz=getattr(column.type, "tz", None))
            exact: TimeArray = column.cast(unit).cast(arrow.int64()).to_numpy().copy()
            return exact
        read = epoch_nanoseconds if arrow.types.is_integer(column.type) else parse_time
        return np.array([read(each) for each in column.to_pylist()], dtype=np.int64)
    except (arrow.ArrowException, ValueError, TypeError, AttributeError) as exc:
        raise broken(path, f"not times: {exc}", column=name) from exc


def _lack_offset(arrow: Any, column: Any) -> bool:
    if arrow.types.is_temporal(column.type):
        return getattr(column.type, "tz", None) is None
    return bool(len(column)) and lacks_offset(column[0].as_py())


def _all_values(arrow: Any, path: Path, layout: Layout, table: Any) -> FloatArray:
    nothing = np.full(table.num_rows, np.nan)
    columns = []
    for cells in layout.values:
        read = [_values(arrow, path, layout.names[i], table) for i in cells]
        columns.append(sum(read) / len(read) if read else nothing)
    return np.column_stack(columns).reshape(-1, len(COLUMNS))


def _values(arrow: Any, path: Path, name: str, table: Any) -> FloatArray:
    try:
        # safe=False: a volume above 2**53 as a whole number is rounded, not refused.
        values: FloatArray = table.column(name).cast(arrow.float64(), safe=False).to_numpy()
    except arrow.ArrowException as exc:
        raise broken(path, f"not numbers: {exc}", column=name) from exc
    return values


def _symbols(arrow: Any, path: Path, name: str, table: Any) -> list[str]:
    column = table.column(name)
    if column.null_count:
        raise broken(path, "a symbol is missing", column=name)
    try:
        symbols: list[str] = column.cast(arrow.string()).to_pylist()
    except arrow.ArrowException as exc:
        raise broken(path, f"not symbols: {exc}", column=name) from exc
    return symbols
