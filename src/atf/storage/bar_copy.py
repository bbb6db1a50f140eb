"""Bars in PostgreSQL's binary COPY format, made by NumPy a block at a time instead of value by value.

Source: PostgreSQL documentation, "COPY", Binary Format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np

from atf.market.bars import COLUMNS, Bars, Series
from atf.storage.columns import EPOCH_2000

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
TRAILER: Final = struct.pack("!h", -1)
_BLOCK: Final = 20_000
"""Microseconds from 1970 to 2000, from where PostgreSQL counts."""


def copied(series: Series, bars: Bars) -> Iterator[bytes]:
    """Yield the rows (symbol, timeframe, open_time, open, high, low, close, volume) as blocks of bytes.

    A missing value is written as NaN, as a field's width may not change inside a block; whoever merges the rows
    makes it NULL. Header and trailer are the caller's.
    """
    symbol, timeframe = series.symbol.encode(), str(series.timeframe).encode()
    row = np.dtype(
        [
            ("fields", ">i2"),
            ("symbol_length", ">i4"),
            ("symbol", f"S{len(symbol)}"),
            ("timeframe_length", ">i4"),
            ("timeframe", f"S{len(timeframe)}"),
            ("time_length", ">i4"),
            ("time", ">i8"),
            *[part for name in COLUMNS for part in ((f"{name}_length", ">i4"), (name, ">f8"))],
        ]
    )
    for start in range(0, len(bars), _BLOCK):
        part = bars[start : start + _BLOCK]
        rows = np.zeros(len(part), dtype=row)
        rows["fields"] = 3 + len(COLUMNS)
        rows["symbol_length"], rows["symbol"] = len(symbol), symbol
        rows["timeframe_length"], rows["timeframe"] = len(timeframe), timeframe
        rows["time_length"], rows["time"] = 8, part.open_time // 1000 - EPOCH_2000
        for name in COLUMNS:
            rows[f"{name}_length"], rows[name] = 8, part.column(name)
        yield rows.tobytes()
