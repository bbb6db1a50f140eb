"""JSON files of bars, plain or gzipped, in the shapes that programs and exchanges write.

A list of objects with the CSV's column names, a list of arrays (time, open, high, low, close, volume, ...), an
object of columns, or an answer of Yahoo's chart interface.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from atf.adapters.providers.bar_columns import KLINE_NAMES, FileRows, Layout, broken
from atf.adapters.providers.csv_bars import open_text, reading_gzip, text_of
from atf.adapters.providers.file_times import epoch_nanoseconds, lacks_offset, parse_time
from atf.adapters.providers.yahoo_chart import ChartError, chart_rows
from atf.market.bars import COLUMNS
from atf.security.limits import LARGEST_BAR_FILE

_FEWEST_CELLS: Final = 1 + len(COLUMNS)
_ALLOWED: Final = "a list of objects or arrays, an object of columns, or an answer of Yahoo's charts"


def read_json(path: Path) -> FileRows:
    """Read a whole document. Errors: InvalidInput with file, item (from 0) and column; OSError."""
    document = _load(path)
    if isinstance(document, Mapping):
        return _of_chart(path, document) if "chart" in document else _of_columns(path, document)
    if not isinstance(document, list):
        raise broken(path, f"not bars: allowed are {_ALLOWED}")
    if document and isinstance(document[0], list):
        return _of_arrays(path, document)
    return _of_objects(path, document)


def _load(path: Path) -> Any:
    try:
        with reading_gzip(path), open_text(path) as file:
            return json.loads(text_of(path, file, LARGEST_BAR_FILE))
    except json.JSONDecodeError as exc:
        raise broken(path, f"not JSON: {exc.msg}", place=f"line {exc.lineno}") from exc
    except ValueError as exc:  # such as a number of thousands of digits
        raise broken(path, f"not JSON that can be read: {exc}") from exc
    except RecursionError as exc:
        raise broken(path, "not bars: it is nested too deeply") from exc


def _of_objects(path: Path, items: list[Any]) -> FileRows:
    if not items:
        return FileRows(np.empty(0, np.int64), np.empty((0, len(COLUMNS))), None)
    names = list(items[0]) if isinstance(items[0], Mapping) else []
    layout = _layout(path, names, "item 0")
    return _rows(path, layout, _cells_of_objects(path, layout, items))


def _cells_of_objects(path: Path, layout: Layout, items: list[Any]) -> Iterator[list[Any]]:
    wanted = {layout.time, *(i for each in layout.values for i in each)}
    wanted |= set() if layout.symbol is None else {layout.symbol}
    for number, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise broken(path, "not an object as the first item is", place=f"item {number}")
        missing = next((layout.names[i] for i in sorted(wanted) if layout.names[i] not in item), None)
        if missing is not None:
            raise broken(path, "is not there", place=f"item {number}", column=missing)
        yield [item.get(name) for name in layout.names]


def _of_arrays(path: Path, items: list[Any]) -> FileRows:
    for number, item in enumerate(items):
        if not isinstance(item, list) or len(item) < _FEWEST_CELLS:
            what = f"not an array of {_FEWEST_CELLS} cells: time, open, high, low, close, volume"
            raise broken(path, what, place=f"item {number}")
    return _rows(path, Layout.of(KLINE_NAMES), iter(items))


def _of_columns(path: Path, columns: Mapping[str, Any]) -> FileRows:
    lists = {name: each for name, each in columns.items() if isinstance(each, list)}
    layout = _layout(path, list(lists), None)
    length = len(lists[layout.names[layout.time]])
    for name, each in lists.items():
        if len(each) != length:
            raise broken(path, f"{len(each)} values, but the time column has {length}", column=name)
    return _rows(path, layout, (list(cells) for cells in zip(*lists.values(), strict=True)))


def _of_chart(path: Path, answer: Mapping[str, Any]) -> FileRows:
    try:
        chart = chart_rows(answer)
    except ChartError as exc:
        raise broken(path, str(exc)) from exc
    return FileRows(chart.times, chart.values, [chart.symbol] * len(chart.times))


def _layout(path: Path, names: Sequence[str], place: str | None) -> Layout:
    try:
        return Layout.of(names)
    except ValueError as exc:
        raise broken(path, str(exc), place=place) from exc


def _rows(path: Path, layout: Layout, items: Iterator[list[Any]]) -> FileRows:
    times: list[int] = []
    values: list[list[float]] = []
    symbols: list[str] = []
    is_local = False
    for number, cells in enumerate(items):
        place = f"item {number}"
        is_local = is_local if times else lacks_offset(cells[layout.time])
        times.append(_time(path, place, layout, cells))
        values.append(layout.numbers(path, place, cells))
        if layout.symbol is not None:
            symbols.append(str(cells[layout.symbol]))
    return FileRows(
        np.array(times, dtype=np.int64),
        np.array(values, dtype=np.float64).reshape(-1, len(COLUMNS)),
        None if layout.symbol is None else symbols,
        is_local,
    )


def _time(path: Path, place: str, layout: Layout, cells: list[Any]) -> int:
    cell = cells[layout.time]
    try:
        if isinstance(cell, int) and not isinstance(cell, bool):
            return epoch_nanoseconds(cell)
        # Programs that hold times as floating numbers write them so: 1700000000.0 is a whole number.
        if isinstance(cell, float) and cell.is_integer():
            return epoch_nanoseconds(int(cell))
        return parse_time(cell if isinstance(cell, str) else repr(cell))
    except ValueError as exc:
        raise broken(path, str(exc), place=place, column=layout.names[layout.time]) from exc
