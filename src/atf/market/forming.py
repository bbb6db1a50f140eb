"""The bar that is forming: what is seen of it, and how finer bars make one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atf.market.bars import Bars, Timeframe, to_nanoseconds
from atf.market.resampling import homes, opening_time, opening_times, resampled
from atf.market.session_times import SessionTimes


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


def made_of_finer(
    fine: Bars, source: Timeframe, target: Timeframe, now: datetime, sessions: SessionTimes | None = None
) -> FormingBar | None:
    """Return the forming bar that the finer bars make which are closed by now.

    None if none of it has closed yet, and where history begins within the bar: its open and its extremes would be
    those of a part. A day that is made of a session forms by the clock on the session's date, though the session
    may have begun before and may be over.

    Shape:  ``fine`` reaches back to a bar before the forming one, unless there is none; ``sessions`` as
            ``resampled`` takes them.
    Errors: as ``resampled``.
    """
    closed = fine.closed_at(now, source)
    begin = to_nanoseconds(opening_time(now, target))
    kept, opens = homes(closed.open_time, source, target, sessions)
    own = kept[opens == begin]
    if not len(own) or (own[0] == 0 and closed.open_time[0] > _first_open(begin, source, target, sessions)):
        return None
    first, last = int(own[0]), int(own[-1])
    bar = resampled(closed[first : last + 1], source, target, sessions)
    return FormingBar(bar, closed.time_at(last) + source.length)


def _first_open(begin: int, source: Timeframe, target: Timeframe, sessions: SessionTimes | None) -> int:
    """Return when the first finer bar opens that a bar is made of. Units: nanoseconds since 1970 UTC."""
    if sessions is None:
        return begin
    own = sessions.opens[opening_times(sessions.days, target) == begin]
    return int(opening_times(own[:1], source)[0])
