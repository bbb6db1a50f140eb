"""One file of bars, whatever its format: CSV, JSON or Parquet, of one symbol or of several.

Turns a file into ``Bars`` or says where it is broken; where files lie and when they are read again is in
``files.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from atf.adapters.providers.bar_columns import FileRows, broken
from atf.adapters.providers.csv_bars import read_csv
from atf.adapters.providers.json_bars import read_json
from atf.adapters.providers.parquet_bars import read_parquet
from atf.errors import InvalidInput
from atf.market.bars import Bars, FloatArray, TimeArray
from atf.market.symbols import canonical

UNNAMED: Final = ""
"""The key of the bars of a file that names no symbol."""
_READERS: Final[Mapping[str, Callable[[Path], FileRows]]] = {
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".parquet": read_parquet,
    ".json": read_json,
    ".json.gz": read_json,
}
ENDINGS: Final = tuple(_READERS)
_SHOWN_SYMBOLS: Final = 5


@dataclass(frozen=True, slots=True)
class FileContent:
    """The bars of a file by canonical symbol, ``UNNAMED`` if it names none.

    Time: ``lacks_offset``: its times came without one and were taken for UTC.
    """

    bars: dict[str, Bars]
    lacks_offset: bool


def read_bars(path: Path, symbol: str | None = None) -> Bars:
    """Read a .csv, .csv.gz, .json, .json.gz or .parquet file.

    ``symbol``: whose bars, in any spelling, where the file has a column of symbols; a file without one is
    whoever's it is said to be. Of bids and asks the middle is taken, and Yahoo's "Adj Close" is not used.

    Time:   ISO 8601 (no offset means UTC, a bare date 00:00Z) or whole numbers since 1970 in s, ms, us or
            ns by their size. Rows may be in any order; of equal times the last one counts.
    Errors: InvalidInput with file, line or item, and column, also when the file is of several symbols and none
            is given, or has no bars of the one that is; ConfigurationError if Parquet support is not
            installed; OSError as the system raises it.
    """
    return bars_of(path, read_file(path), symbol)


def read_file(path: Path) -> dict[str, Bars]:
    """Read the bars of all symbols, by canonical symbol; ``UNNAMED`` if the file names none."""
    return read_content(path).bars


def read_content(path: Path) -> FileContent:
    """Read all that a file says. Errors: as read_bars."""
    rows = _reader(path)(path)
    return FileContent(_by_symbol(path, rows), rows.lacks_offset)


def _by_symbol(path: Path, rows: FileRows) -> dict[str, Bars]:
    if rows.symbols is None:
        return {UNNAMED: _sorted_bars(rows.times, rows.values)}
    return {
        name: _sorted_bars(rows.times[where], rows.values[where])
        for name, where in _rows_by_symbol(path, rows.symbols).items()
    }


def bars_of(path: Path, found: Mapping[str, Bars], symbol: str | None) -> Bars:
    """Return one symbol's bars of what ``read_file`` found in a file. Errors: as read_bars."""
    if UNNAMED in found:
        return found[UNNAMED]
    if symbol is not None:
        wanted = _canonical_or_as_given(symbol)
        if wanted not in found:
            raise broken(path, f"no bars of {wanted}; it has {_listing(sorted(found))}")
        return found[wanted]
    if len(found) > 1:
        what = f"bars of several symbols in one file ({_listing(sorted(found))}): say whose are wanted"
        raise broken(path, what)
    return next(iter(found.values()), Bars.empty())


def _reader(path: Path) -> Callable[[Path], FileRows]:
    reader = next((read for ending, read in _READERS.items() if path.name.endswith(ending)), None)
    if reader is None:
        raise broken(path, f"not a kind of file that can be read; allowed are {', '.join(ENDINGS)}")
    return reader


def _rows_by_symbol(path: Path, symbols: Sequence[str]) -> dict[str, TimeArray]:
    """Return the rows of each canonical symbol, in the file's order."""
    spelled = {each: _canonical_or_as_given(each) for each in dict.fromkeys(symbols)}
    if UNNAMED in spelled.values():
        raise broken(path, "a row without its symbol")
    numbers = {name: number for number, name in enumerate(sorted(set(spelled.values())))}
    codes = np.array([numbers[spelled[each]] for each in symbols], dtype=np.int64)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(1, len(numbers)))
    return dict(zip(numbers, np.split(order, starts), strict=True)) if numbers else {}


def _sorted_bars(times: TimeArray, values: FloatArray) -> Bars:
    order = np.argsort(times, kind="stable")
    times = times[order]
    is_last = np.ones(len(times), dtype=np.bool_)
    is_last[:-1] = times[1:] != times[:-1]
    return Bars.from_columns(times[is_last], values[order][is_last])


def _canonical_or_as_given(symbol: str) -> str:
    """Return the canonical spelling; what cannot be a symbol stays, as only its own file needs it."""
    try:
        return canonical(symbol)
    except InvalidInput:
        return symbol.strip()


def _listing(symbols: Sequence[str]) -> str:
    cut = f" and {len(symbols) - _SHOWN_SYMBOLS} more" if len(symbols) > _SHOWN_SYMBOLS else ""
    return ", ".join(symbols[:_SHOWN_SYMBOLS]) + cut if symbols else "none"
