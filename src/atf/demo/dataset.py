"""The real prices that the demo replays: daily bars of five US shares, 2000 to 2013.

Only reading lives here; where the file comes from and what was checked is in ``data/SOURCE.md``.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np

from atf.market.bars import COLUMNS, Bars, Series, Timeframe

_FILE: Final = Path(__file__).with_name("data") / "us_daily_2000_2013.csv.gz"


def load_dataset() -> dict[Series, Bars]:
    """Read all bars that ATF ships.

    Shape:  five series at 1d, 12,154 bars in all, no value missing.
    Units:  USD and shares, unadjusted: a split is a jump in price.
    Time:   a session is stored at 00:00Z of its date.
    Source: ``data/SOURCE.md``.
    """
    rows: defaultdict[str, list[list[str]]] = defaultdict(list)
    with gzip.open(_FILE, "rt", encoding="ascii", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        for symbol, *cells in reader:
            rows[symbol].append(cells)
    return {Series(symbol, Timeframe.D1): _to_bars(cells) for symbol, cells in rows.items()}


def _to_bars(cells: list[list[str]]) -> Bars:
    """Build bars from (date, open, high, low, close, volume) texts, which the file has in order of time."""
    days = np.array([row[0] for row in cells], dtype="datetime64[D]")
    values = np.array([row[1:] for row in cells], dtype=np.float64).reshape(len(cells), len(COLUMNS))
    return Bars.from_columns(days.astype("datetime64[ns]").astype(np.int64), values)
