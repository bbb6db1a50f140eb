"""CSV files of bars, plain or gzipped: a header that names the columns, or Binance's twelve without one."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from atf.adapters.providers.bar_columns import KLINE_NAMES, FileRows, Layout, broken
from atf.adapters.providers.file_times import lacks_offset, parse_time
from atf.errors import InvalidInput
from atf.market.bars import COLUMNS
from atf.security.limits import LARGEST_BAR_FILE, LONGEST_LINE


def read_csv(path: Path) -> FileRows:
    """Read all rows. Errors: InvalidInput with file, line and column; OSError."""
    times: list[int] = []
    values: list[list[float]] = []
    symbols: list[str] = []
    is_local = False
    with _rows(path) as (layout, rows):
        for line, cells in rows:
            place = f"line {line}"
            is_local = is_local if times else lacks_offset(cells[layout.time])
            times.append(_time(path, place, layout, cells))
            values.append(layout.numbers(path, place, cells))
            if layout.symbol is not None:
                symbols.append(cells[layout.symbol])
    return FileRows(
        np.array(times, dtype=np.int64),
        np.array(values, dtype=np.float64).reshape(-1, len(COLUMNS)),
        None if layout.symbol is None else symbols,
        is_local,
    )


@contextmanager
def reading_gzip(path: Path) -> Iterator[None]:
    """Convert what goes wrong with compressed text into InvalidInput that names the file."""
    try:
        yield
    except UnicodeDecodeError as exc:
        raise broken(path, "not UTF-8 text") from exc
    except (gzip.BadGzipFile, zlib.error, EOFError) as exc:
        raise broken(path, f"not a whole gzip file: {exc}") from exc


def open_text(path: Path) -> TextIO:
    """Open a text file, through gzip if its name ends so; a byte order mark is skipped."""
    if path.suffix == ".gz":
        return cast("TextIO", gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def lines_of(path: Path, file: TextIO, largest: int) -> Iterator[str]:
    """Yield the lines of a file. Errors: InvalidInput once it, or a line of it, has more characters than it may.

    A few kilobytes of gzip can be gigabytes of text.
    """
    left = largest
    while line := file.readline(LONGEST_LINE + 1):
        left -= len(line)
        if len(line) > LONGEST_LINE:
            raise broken(path, f"has a line of more than {LONGEST_LINE} characters")
        if left < 0:
            raise too_large(path, largest)
        yield line


def text_of(path: Path, file: TextIO, largest: int) -> str:
    """Return all of a file. Errors: InvalidInput if it has more characters than it may."""
    text = file.read(largest + 1)
    if len(text) > largest:
        raise too_large(path, largest)
    return text


def too_large(path: Path, largest: int) -> InvalidInput:
    """Return the refusal of a file with more characters than it may have."""
    return broken(path, f"has more than {largest // 1024**2} MiB of text, the most that is read")


@contextmanager
def _rows(path: Path) -> Iterator[tuple[Layout, Iterator[tuple[int, list[str]]]]]:
    """Open a CSV file and yield its layout and its rows with their line numbers."""
    try:
        with reading_gzip(path), open_text(path) as file:
            reader = csv.reader(lines_of(path, file, LARGEST_BAR_FILE), strict=True)
            first = next(reader, [])
            if len(first) == len(KLINE_NAMES) and first[0].isdecimal():
                yield Layout.of(KLINE_NAMES), _whole_rows(path, KLINE_NAMES, reader, first)
            else:
                yield _layout(path, first), _whole_rows(path, first, reader)
    except csv.Error as exc:
        raise broken(path, f"not a CSV file: {exc}") from exc


def _layout(path: Path, header: list[str]) -> Layout:
    try:
        return Layout.of(header)
    except ValueError as exc:
        raise broken(path, str(exc), place="line 1") from exc


def _whole_rows(path: Path, names: Any, reader: Any, *read: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that were read already and the others, each with its line; none may be cut."""
    for cells in chain(read, reader):
        if not cells:
            continue
        if len(cells) != len(names):
            what = f"{len(cells)} cells, but the {'header' if names is not KLINE_NAMES else 'first row'} has"
            raise broken(path, f"{what} {len(names)}", place=f"line {reader.line_num}")
        yield reader.line_num, cells


def _time(path: Path, place: str, layout: Layout, cells: list[str]) -> int:
    try:
        return parse_time(cells[layout.time])
    except ValueError as exc:
        raise broken(path, str(exc), place=place, column=layout.names[layout.time]) from exc
