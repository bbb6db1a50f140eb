"""Indicator sessions that outlive a batch: most batches look at bars that the one before has looked at. Pure.

A value depends on the bars of its window and on nothing else: what was computed is good for as long as the bars
are the same, whoever loaded them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from atf.indicators.indicator_service import IndicatorService, IndicatorSession
from atf.market.bars import Bars

_MOST_BARS: Final = 500_000
"""Some 24 MB, if nobody else holds them."""


class SessionMemory:
    """Remembers the session of each run of bars, the least recently used dropped first."""

    def __init__(self, indicators: IndicatorService, most_bars: int = _MOST_BARS) -> None:
        self._indicators = indicators
        self._most = most_bars
        self._sessions: OrderedDict[Hashable, IndicatorSession] = OrderedDict()
        self._bars = 0

    def session(self, key: Hashable, bars: Bars) -> IndicatorSession:
        """Return the indicators of bars, which may reach further back than these do.

        They are the remembered ones of ``key`` if those bars are the same to the last bit, at least as many and
        end alike.
        """
        known = self._sessions.get(key)
        if known is None or not bars.are_newest_of(known.bars):
            return self._remember(key, self._indicators.session(bars))
        self._sessions.move_to_end(key)
        return known

    def reach(self, key: Hashable) -> int:
        """Return how many bars are remembered: who asks for fewer of newer ones makes what is known useless."""
        known = self._sessions.get(key)
        return 0 if known is None else len(known.bars)

    def _remember(self, key: Hashable, session: IndicatorSession) -> IndicatorSession:
        before = self._sessions.pop(key, None)
        self._bars += len(session.bars) - (0 if before is None else len(before.bars))
        self._sessions[key] = session
        while self._bars > self._most and len(self._sessions) > 1:
            _, oldest = self._sessions.popitem(last=False)
            self._bars -= len(oldest.bars)
        return session
