"""The forming bar of a source that stores closed bars only: what the finer ones of its time make up to now."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from atf.errors import NotFound
from atf.market.bars import Series, Timeframe
from atf.market.due_bars import DueBars
from atf.market.forming import FormingBar, made_of_finer
from atf.market.provider import BarProvider
from atf.market.resampling import opening_time
from atf.market.session_times import BEFORE_ITS_DATE, BY_SESSION, sessions_of

_FINEST_FIRST: Final = sorted(Timeframe, key=lambda each: each.length)


async def forming_of_finer(
    provider: BarProvider, series: Series, now: datetime, due: DueBars | None = None
) -> FormingBar | None:
    """Return the forming bar made of the finest bars that have closed in it; None if none has yet.

    Days and weeks are made of the sessions of the symbol's calendar, which ``due`` knows; without it of UTC days.

    Errors: those of the provider; NotFound if it has no finer bars of the symbol at all; InvalidInput if the
            settings name a calendar that there is not, or its sessions turn within the finer bars.
    """
    calendar = None if due is None else await due.calendar_of(series.symbol)
    begin = opening_time(now, series.timeframe)
    if calendar is not None and series.timeframe in BY_SESSION:
        begin -= BEFORE_ITS_DATE
    is_known = False
    for source in _FINEST_FIRST:
        if source.length >= series.timeframe.length:
            break
        try:
            count = (now - begin) // source.length + 1
            fine = await provider.closed_bars(Series(series.symbol, source), now, count)
        except NotFound:
            continue
        is_known = True
        sessions = None if calendar is None else sessions_of(fine, source, series.timeframe, calendar)
        found = made_of_finer(fine, source, series.timeframe, now, sessions)
        if found is not None:
            return found
    if not is_known:
        raise NotFound(f"{provider.name} has no finer bars than {series.timeframe} of {series.symbol}")
    return None
