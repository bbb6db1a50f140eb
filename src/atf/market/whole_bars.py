"""Which coarser bars are made of all the finer ones that there must be, and not of those at hand alone. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from atf.market.bars import Bars, TimeArray, Timeframe, to_nanoseconds
from atf.market.gaps import expected_between
from atf.market.session_times import follows_sessions
from atf.market.trading_calendar import TradingCalendar
from atf.market.trading_time import expected_opens

_ONE_DAY: Final = timedelta(days=1)


def without_cut_ends(
    coarse: Bars,
    fine: Bars,
    source: Timeframe,
    target: Timeframe,
    calendar: TradingCalendar,
    *,
    complete_until: datetime | None = None,
) -> Bars:
    """Return resampled bars without a first and a last one that would be made of a part of their time alone.

    History that begins at 10:37 has no hour from 10:00, and one that ends at 11:12 none from 11:00, though its
    time is over. What is missing between is a gap, which nobody can tell from a market without trades. Days and
    weeks that are made of sessions are whole with these: the calendar's half day is.

    Time: ``complete_until``: up to this instant there are no finer bars behind the newest one, as their source
          was just asked.
    """
    kept = coarse
    if len(kept) and _is_cut(_expected_in(kept, 0, source, target, calendar)[:1], fine, at_begin=True):
        kept = kept[1:]
    if not len(kept):
        return kept
    expected = _expected_in(kept, len(kept) - 1, source, target, calendar)
    if complete_until is not None:
        expected = expected[expected > to_nanoseconds(complete_until)]
    return kept[:-1] if _is_cut(expected[-1:], fine, at_begin=False) else kept


def _expected_in(
    coarse: Bars, index: int, source: Timeframe, target: Timeframe, calendar: TradingCalendar
) -> TimeArray:
    begin = coarse.time_at(index)
    end = begin + target.length
    if not follows_sessions(source, target, calendar):
        return expected_between(source, calendar, begin, end)
    sessions = calendar.sessions_between(begin.date(), (end - _ONE_DAY).date())
    around = sessions[0].opens_at - source.length, sessions[-1].closes_at + source.length
    return expected_opens(source, *around, sessions)


def _is_cut(expected: TimeArray, fine: Bars, *, at_begin: bool) -> bool:
    """Whether the finer bars begin after the one that is expected, or end before it."""
    if not len(expected):
        return False
    return bool(fine.open_time[0] > expected[0] if at_begin else fine.open_time[-1] < expected[0])
