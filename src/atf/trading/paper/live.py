"""What of a bar is new since the last look: so bars that are still forming fill orders piece by piece. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atf.market.bars import Series
from atf.trading.bot_messages import Candle
from atf.trading.paper.bar import PaperBar, paper_bar


@dataclass(frozen=True, slots=True)
class Look:
    """A bar as it was known at an instant; at its close it is as it stays."""

    series: Series
    open_time: datetime
    seen_at: datetime
    candle: Candle

    def is_of_the_bar_of(self, other: Look) -> bool:
        """Whether both looked at the same bar."""
        return (self.series, self.open_time) == (other.series, other.open_time)


def piece_between(before: Look | None, now: Look) -> PaperBar | None:
    """Return what has happened in a bar since the look before, or since it opened if there was none.

    The extremes of a bar move outwards only: one that has moved was reached since then, one that has not may have
    been reached long before. None if nothing can have happened, or no market could have made it.
    """
    if before is not None and now.seen_at <= before.seen_at:
        return None
    if before is None or not before.is_of_the_bar_of(now):
        return paper_bar(now.series.symbol, now.open_time, now.seen_at, now.candle)
    _, high_before, low_before, close_before, volume_before = before.candle
    _, high, low, close, volume = now.candle
    candle = (
        close_before,
        high if high > high_before else max(close_before, close),
        low if low < low_before else min(close_before, close),
        close,
        volume - volume_before,
    )
    return paper_bar(now.series.symbol, before.seen_at, now.seen_at, candle)
