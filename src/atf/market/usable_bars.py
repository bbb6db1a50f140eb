"""Which bars of a provider or a file may be used and stored, and which are put aside. Pure."""

from __future__ import annotations

from datetime import datetime

from atf.market.bar_store import PutAside
from atf.market.bars import Bars, Timeframe
from atf.market.quality import Flaw, sort_out


def usable_bars(bars: Bars, timeframe: Timeframe, until: datetime) -> tuple[Bars, PutAside]:
    """Part bars; one that is not closed at ``until`` by our clock is not used, whoever says that it is.

    The bar that is forming is left out: stored, it would count as closed later with the values of now. One that
    opens after ``until`` is put aside, as nobody can know it.
    """
    closed = bars.closed_at(until, timeframe)
    ahead = bars[bars.first_after(until) :]
    found = sort_out(closed, timeframe)
    return found.good, PutAside(found.bad.followed_by(ahead), (*found.reasons, *[Flaw.FUTURE] * len(ahead)))
