"""Which bars are new: each is matched once, and no time of a symbol is matched twice. Pure.

``storage/paper_repository.py`` has the same rule as SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from atf.market.bars import Series
from atf.trading.bot_messages import Candle

SeriesBars = Mapping[Series, tuple[datetime, Candle]]
"""The bars that closed together: open time and candle, one a series."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The last bar of a series that was matched."""

    open_time: datetime
    closes_at: datetime


def is_new(series: Series, open_time: datetime, marks: Mapping[Series, Mark]) -> bool:
    """Tell whether a bar is to be matched.

    It is newer than the last one of its series, and opens after all that other timeframes of its symbol have
    told: an hour whose minutes were matched has nothing to add, and its extremes are older than they look.
    """
    own = marks.get(series)
    if own is not None and open_time <= own.open_time:
        return False
    return all(
        other.closes_at <= open_time
        for found, other in marks.items()
        if found.symbol == series.symbol and found.timeframe is not series.timeframe
    )


def finest(series: Iterable[Series]) -> list[Series]:
    """Return of each symbol the series with the shortest bars, by symbol."""
    shortest: dict[str, Series] = {}
    for one in series:
        known = shortest.get(one.symbol)
        if known is None or one.timeframe.length < known.timeframe.length:
            shortest[one.symbol] = one
    return [shortest[symbol] for symbol in sorted(shortest)]
