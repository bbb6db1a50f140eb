"""Columns of a file of bars: which of its names are the time, the prices and the symbol, and what a cell says.

Formats (``csv_bars``, ``json_bars``, ``parquet_bars``) read cells; this module knows what they mean. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from atf.errors import InvalidInput
from atf.market.bars import COLUMNS, FloatArray, TimeArray

TIME_NAMES: Final = ("timestamp", "open_time", "time", "date", "datetime")
SYMBOL_NAMES: Final = ("symbol", "ticker")
KLINE_NAMES: Final = (
    *("open_time", *COLUMNS, "close_time", "quote_volume", "count"),
    *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
"""Columns of Binance's public files and klines, which have no header."""
_PRICES: Final = COLUMNS[:4]
_MISSING: Final = frozenset({"", "nan", "null", "none", "na", "n/a"})


@dataclass(frozen=True, slots=True)
class FileRows:
    """What a file says, row by row in its own order.

    Shape: times (n,), values (n, 5) in the order of ``COLUMNS``, symbols (n,) as spelled there, None if the
           file names none.
    Time:  ``lacks_offset`` tells whether they came without one, by the first row; a program writes all alike.
    """

    times: TimeArray
    values: FloatArray
    symbols: Sequence[str] | None
    lacks_offset: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in a row the wanted columns are.

    ``values`` has the cells of each of ``COLUMNS``: one, or a bid and an ask whose middle counts, or none.
    """

    names: Sequence[str]
    time: int
    values: tuple[tuple[int, ...], ...]
    symbol: int | None
    singles: tuple[int, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        cells = tuple(i for each in self.values for i in each)
        are_single = all(len(each) == 1 for each in self.values)
        object.__setattr__(self, "singles", cells if are_single else None)

    @classmethod
    def of(cls, names: Sequence[str]) -> Layout:
        """Find the columns by name, in any case; raise ValueError that says which one is not there."""
        plain = [name.strip().lower() for name in names]
        found = ", ".join(names)
        time = next((plain.index(name) for name in TIME_NAMES if name in plain), None)
        if time is None:
            raise ValueError(f"no time column ({', '.join(TIME_NAMES)}); found: {found}")
        values = _quoted(plain) or [(plain.index(name),) for name in COLUMNS if name in plain]
        if len(values) < len(COLUMNS):
            missing = ", ".join(name for name in COLUMNS if name not in plain)
            raise ValueError(f"no column {missing}; found: {found}")
        symbol = next((plain.index(name) for name in SYMBOL_NAMES if name in plain), None)
        return cls(names, time, tuple(values), symbol)

    def numbers(self, path: Path, place: str, cells: Sequence[object]) -> list[float]:
        """Return the values of a row; raise InvalidInput that names its place and the column."""
        try:
            if self.singles is not None:
                return [parse_number(cells[i]) for i in self.singles]
            return [_middle([parse_number(cells[i]) for i in each]) for each in self.values]
        except ValueError:
            bad = next(i for each in self.values for i in each if not _is_number(cells[i]))
            what = f"{cells[bad]!r} is not a number"
            raise broken(path, what, place=place, column=self.names[bad]) from None


def _quoted(plain: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the cells of a file of bids and asks, which has no column ``close``; nothing if it is none."""
    pairs = [(f"bid_{name}", f"ask_{name}") for name in _PRICES]
    if "close" in plain or not all(name in plain for pair in pairs for name in pair):
        return []
    volume = (plain.index("volume"),) if "volume" in plain else ()
    return [*((plain.index(bid), plain.index(ask)) for bid, ask in pairs), volume]


def _middle(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else math.nan


def parse_number(cell: object) -> float:
    """Return the number of a cell, NaN if it says that there is none; ValueError otherwise."""
    if isinstance(cell, str):
        try:
            return float(cell)
        except ValueError:
            if cell.strip().lower() in _MISSING:
                return math.nan
            raise
    if cell is None:
        return math.nan
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise ValueError(cell)
    try:
        return float(cell)
    except OverflowError:  # a whole number beyond what a float holds is none that a market has
        return math.nan


def _is_number(cell: object) -> bool:
    try:
        parse_number(cell)
    except ValueError:
        return False
    return True


def broken(path: Path, what: str, *, place: str | None = None, column: str | None = None) -> InvalidInput:
    """Return the error that says where a file is broken, such as ``place`` "line 3", and how."""
    where = "".join((f", {place}" if place else "", f", column {column!r}" if column else ""))
    return InvalidInput(f"{path}{where}: {what}")
