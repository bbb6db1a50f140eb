"""What a file of bars looks like: its columns, its times, its numbers, as CSV and as Parquet.

Turns one file into ``Bars`` or says where it is broken; where files lie and when they are read again is in
``files.py``.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO, cast

import numpy as np

from atf.errors import ConfigurationError, InvalidInput
from atf.market.bars import COLUMNS, Bars, FloatArray, TimeArray, to_nanoseconds

TIME_NAMES: Final = ("timestamp", "open_time", "time", "date")
SYMBOL_NAMES: Final = ("symbol", "ticker")
_MISSING: Final = frozenset({"", "nan", "null", "none", "na", "n/a"})
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_COMPACT_DATE: Final = re.compile(r"(19|20)[0-9]{6}")
_LAST_NANOSECOND: Final = 2**63 - 1
# An epoch number is seconds, ms, us or ns by its size; the borders lie in 1973 for the finer unit and in
# the year 5138 for the coarser one, so that no price history is near them.
_EPOCH_UNITS: Final = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))


def read_bars(path: Path) -> Bars:
    """Read a .csv, .csv.gz or .parquet file.

    Time:   ISO 8601 (no offset means UTC, a bare date 00:00Z) or whole numbers since 1970 in s, ms, us or
            ns by their size. Rows may be in any order; of equal times the last one counts.
    Errors: InvalidInput with file, line and column; ConfigurationError if Parquet support is not installed;
            OSError as the system raises it.
    """
    times, values = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    order = np.argsort(times, kind="stable")
    times = times[order]
    is_last = np.ones(len(times), dtype=np.bool_)
    is_last[:-1] = times[1:] != times[:-1]
    return Bars.from_columns(times[is_last], values[order][is_last])


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where in a row the wanted columns are."""

    names: Sequence[str]
    time: int
    values: tuple[int, ...]
    symbol: int | None

    @classmethod
    def of(cls, names: Sequence[str]) -> _Layout:
        """Find the columns by name, in any case; raise ValueError that says which one is not there."""
        plain = [name.strip().lower() for name in names]
        found = ", ".join(names)
        time = next((plain.index(name) for name in TIME_NAMES if name in plain), None)
        if time is None:
            raise ValueError(f"no time column ({', '.join(TIME_NAMES)}); found: {found}")
        missing = [name for name in COLUMNS if name not in plain]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}; found: {found}")
        symbol = next((plain.index(name) for name in SYMBOL_NAMES if name in plain), None)
        return cls(names, time, tuple(plain.index(name) for name in COLUMNS), symbol)


def _broken(path: Path, what: str, *, line: int | None = None, column: str | None = None) -> InvalidInput:
    place = "".join((f", line {line}" if line else "", f", column {column!r}" if column else ""))
    return InvalidInput(f"{path}{place}: {what}")


def _several_symbols(path: Path, symbols: Sequence[str]) -> InvalidInput:
    return _broken(path, f"bars of several symbols in one file ({', '.join(symbols[:3])}): one file is one")


# --- CSV ---


def _read_csv(path: Path) -> tuple[TimeArray, FloatArray]:
    times: list[int] = []
    values: list[list[float]] = []
    symbols: set[str] = set()
    with _csv_rows(path) as (layout, rows):
        for line, cells in rows:
            times.append(_csv_time(path, line, layout, cells))
            values.append(_csv_values(path, line, layout, cells))
            if layout.symbol is not None:
                symbols.add(cells[layout.symbol])
    if len(symbols) > 1:
        raise _several_symbols(path, sorted(symbols))
    return np.array(times, dtype=np.int64), np.array(values, dtype=np.float64).reshape(-1, len(COLUMNS))


@contextmanager
def _csv_rows(path: Path) -> Iterator[tuple[_Layout, Iterator[tuple[int, list[str]]]]]:
    """Open a CSV file and yield its layout and its rows with their line numbers."""
    try:
        with _open_text(path) as file:
            reader = csv.reader(file, strict=True)
            layout = _csv_layout(path, next(reader, []))
            yield layout, _whole_rows(path, layout, reader)
    except csv.Error as exc:
        raise _broken(path, f"not a CSV file: {exc}") from exc
    except UnicodeDecodeError as exc:
        raise _broken(path, "not UTF-8 text") from exc
    except (gzip.BadGzipFile, zlib.error, EOFError) as exc:
        raise _broken(path, f"not a whole gzip file: {exc}") from exc


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast("TextIO", gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _csv_layout(path: Path, header: list[str]) -> _Layout:
    try:
        return _Layout.of(header)
    except ValueError as exc:
        raise _broken(path, str(exc), line=1) from exc


def _whole_rows(path: Path, layout: _Layout, reader: Any) -> Iterator[tuple[int, list[str]]]:
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(layout.names):
            what = f"{len(cells)} cells, but the header has {len(layout.names)}"
            raise _broken(path, what, line=reader.line_num)
        yield reader.line_num, cells


def _csv_time(path: Path, line: int, layout: _Layout, cells: list[str]) -> int:
    try:
        return parse_time(cells[layout.time])
    except ValueError as exc:
        raise _broken(path, str(exc), line=line, column=layout.names[layout.time]) from exc


def _csv_values(path: Path, line: int, layout: _Layout, cells: list[str]) -> list[float]:
    try:
        return [_parse_number(cells[i]) for i in layout.values]
    except ValueError:
        bad = next(i for i in layout.values if not _is_number(cells[i]))
        what = f"{cells[bad]!r} is not a number"
        raise _broken(path, what, line=line, column=layout.names[bad]) from None


def _parse_number(text: str) -> float:
    """Return the number, NaN if the cell says that there is none."""
    try:
        return float(text)
    except ValueError:
        if text.strip().lower() in _MISSING:
            return math.nan
        raise


def _is_number(text: str) -> bool:
    try:
        _parse_number(text)
    except ValueError:
        return False
    return True


# --- times ---


def parse_time(text: str) -> int:
    """Return nanoseconds since 1970 of a time as files have it; ValueError says what is allowed."""
    text = text.strip()
    if _COMPACT_DATE.fullmatch(text):
        raise ValueError(f"{text!r} may be a date or seconds: write a date as {text[:4]}-{text[4:6]}-{text[6:]}")
    if _WHOLE.fullmatch(text):
        return epoch_nanoseconds(int(text))
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        allowed = "2024-01-31T09:30:00Z, 2024-01-31 or a whole number of s, ms, us or ns since 1970"
        raise ValueError(f"{text!r} is not a time; allowed are {allowed}") from None
    return _in_range(to_nanoseconds(instant if instant.tzinfo else instant.replace(tzinfo=UTC)), text)


def epoch_nanoseconds(number: int) -> int:
    """Return nanoseconds since 1970 of a whole number of s, ms, us or ns since then, told by its size."""
    factor = next((factor for below, factor in _EPOCH_UNITS if abs(number) < below), 1)
    return _in_range(number * factor, number)


def _in_range(nanoseconds: int, given: object) -> int:
    if abs(nanoseconds) > _LAST_NANOSECOND:
        raise ValueError(f"{given!r} is outside the years 1678 to 2261")
    return nanoseconds


# --- Parquet ---


def _read_parquet(path: Path) -> tuple[TimeArray, FloatArray]:
    arrow, parquet = _import_arrow()
    try:
        with parquet.ParquetFile(path) as file:
            layout = _parquet_layout(path, file.schema_arrow.names)
            wanted = [layout.names[i] for i in (layout.time, *layout.values)]
            table = file.read(columns=wanted)
            if layout.symbol is not None:
                _refuse_several_symbols(path, file, layout.names[layout.symbol])
    except (arrow.ArrowException, UnicodeDecodeError) as exc:
        raise _broken(path, f"not a Parquet file that can be read: {exc}") from exc
    except OSError as exc:
        if exc.errno is not None:
            raise
        # Arrow's word for a file whose inside is damaged; the system's own errors have a number.
        raise _broken(path, f"not a whole Parquet file: {exc}") from exc
    time, *columns = (table.column(name) for name in wanted)
    times = _parquet_times(arrow, path, wanted[0], time)
    values = [_parquet_values(arrow, path, *each) for each in zip(wanted[1:], columns, strict=True)]
    return times, np.column_stack(values).reshape(-1, len(COLUMNS))


def _import_arrow() -> tuple[Any, Any]:
    """Import pyarrow when the first Parquet file is read: it is an extra, and slow to load."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise ConfigurationError("Parquet files need an extra: pip install 'atf[parquet]'") from exc
    return pyarrow, pyarrow.parquet


def _parquet_layout(path: Path, names: Sequence[str]) -> _Layout:
    try:
        return _Layout.of(names)
    except ValueError as exc:
        raise _broken(path, str(exc)) from exc


def _refuse_several_symbols(path: Path, file: Any, name: str) -> None:
    symbols = [str(each) for each in file.read(columns=[name]).column(name).unique().to_pylist()]
    if len(symbols) > 1:
        raise _several_symbols(path, sorted(symbols))


def _parquet_times(arrow: Any, path: Path, name: str, column: Any) -> TimeArray:
    if column.null_count:
        raise _broken(path, "a time is missing", column=name)
    try:
        if arrow.types.is_temporal(column.type):
            unit = arrow.timestamp("ns", tz=getattr(column.type, "tz", None))
            exact: TimeArray = column.cast(unit).cast(arrow.int64()).to_numpy().copy()
            return exact
        read = epoch_nanoseconds if arrow.types.is_integer(column.type) else parse_time
        return np.array([read(each) for each in column.to_pylist()], dtype=np.int64)
    except (arrow.ArrowException, ValueError, TypeError, AttributeError) as exc:
        raise _broken(path, f"not times: {exc}", column=name) from exc


def _parquet_values(arrow: Any, path: Path, name: str, column: Any) -> FloatArray:
    try:
        # safe=False: a volume above 2**53 as a whole number is rounded, not refused.
        values: FloatArray = column.cast(arrow.float64(), safe=False).to_numpy()
    except arrow.ArrowException as exc:
        raise _broken(path, f"not numbers: {exc}", column=name) from exc
    return values
