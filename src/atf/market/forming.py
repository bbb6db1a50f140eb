"""The bar that is forming: what is seen of it, and how finer bars make one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atf.market.bars import Bars, Timeframe
from atf.market.resampling import opening_time, resampled


@dataclass(frozen=True, slots=True)
class FormingBar:
    """A bar that is not closed by the clock, as it was at an instant; its values change until it closes.

    Shape: ``bar`` is one bar.
    Time:  the market is known up to ``seen_at``: what was traded later is not in it.
    """

    bar: Bars
    seen_at: datetime

    def is_open_at(self, instant: datetime, timeframe: Timeframe) -> bool:
        """Whether an instant lies within the bar, by the clock."""
        opens = self.bar.time_at(0)
        return opens <= instant < opens + timeframe.length


def newest_open_bar(bars: Bars, timeframe: Timeframe, now: datetime, seen_at: datetime) -> FormingBar | None:
    """Return the newest of the bars that an instant lies within, None if it lies in none."""
    for index in range(len(bars) - 1, -1, -1):
        if bars.time_at(index) <= now:
            found = FormingBar(bars[index : index + 1], seen_at)
            return found if found.is_open_at(now, timeframe) else None
    return None


def made_of_finer(fine: Bars, source: Timeframe, target: Timeframe, now: datetime) -> FormingBar | None:
    """Return the forming bar that the finer bars make which are closed by now.

    None if none of it has closed yet, and where history begins within the bar: its open and its extremes would be
    those of a part.

    Shape: ``fine`` reaches back to a bar before the forming one, unless there is none.
    """
    closed = fine.closed_at(now, source)
    begin = opening_time(now, target)
    own = closed.since(begin)
    if not len(own) or (len(own) == len(closed) and own.time_at(0) > begin):
        return None
    seen_at = own.time_at(len(own) - 1) + source.length
    return FormingBar(resampled(own, source, target), seen_at)
