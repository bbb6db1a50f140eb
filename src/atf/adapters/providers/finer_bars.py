"""The forming bar of a source that stores closed bars only: what the finer ones of its time make up to now."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from atf.errors import NotFound
from atf.market.bars import Series, Timeframe
from atf.market.forming import FormingBar, made_of_finer
from atf.market.provider import BarProvider

_FINEST_FIRST: Final = sorted(Timeframe, key=lambda each: each.length)


async def forming_of_finer(provider: BarProvider, series: Series, now: datetime) -> FormingBar | None:
    """Return the forming bar made of the finest bars that have closed in it; None if none has yet.

    A day is one of UTC, so that a session which goes over midnight there is made of a part.

    Errors: those of the provider; NotFound if it has no finer bars of the symbol at all.
    """
    is_known = False
    for source in _FINEST_FIRST:
        if source.length >= series.timeframe.length:
            break
        try:
            count = series.timeframe.length // source.length + 1
            fine = await provider.closed_bars(Series(series.symbol, source), now, count)
        except NotFound:
            continue
        is_known = True
        found = made_of_finer(fine, source, series.timeframe, now)
        if found is not None:
            return found
    if not is_known:
        raise NotFound(f"{provider.name} has no finer bars than {series.timeframe} of {series.symbol}")
    return None
