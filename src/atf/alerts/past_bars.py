"""Bars of the past, to look back on: those that live evaluation would read, as far as they are here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from atf.alerts.watched import Watched
from atf.errors import TemporaryFailure
from atf.market.bar_store import BarStore
from atf.market.bars import Bars, Series
from atf.market.closing import Closing
from atf.market.data_manager import DataManager, in_one_spelling

_PATIENCE: Final = timedelta(seconds=30)


class PastBars:
    """Asks the DataManager, and never makes a provider on a network send years that nobody stored."""

    def __init__(self, data: DataManager, store: BarStore) -> None:
        self._data = data
        self._store = store

    async def closing(self, watched: Watched) -> Closing:
        """Return when the bars of what is watched close.

        Errors: InvalidInput if there is no calendar of that name.
        """
        return await self._data.closing(watched.series.timeframe, watched.calendar)

    async def watched_bars(self, watched: Watched, until: datetime, most: int, *, now: datetime) -> Bars:
        """Return the newest bars that are closed at ``until`` as the alert sees it: by its calendar, if any.

        Errors: as ``closed_bars`` and ``closing``.
        """
        closing, series = await self.closing(watched), watched.series
        due = closing.newest_ended(until)
        end = until if due is None else max(until, due.opens_at + series.timeframe.length)
        if due is None or end <= now:
            return closing.closed_at(await self.closed_bars(series, end, most), until)
        bars = await self.closed_bars(series, until, most)
        fetched = await self._data.ended_bars_of({series: due}, now=now, within=_PATIENCE)
        ended = fetched.ready[series]
        if await self._data.on_other_base({series: (bars, ended)}, now=now, within=_PATIENCE):
            bars = await self.closed_bars(series, until, most)  # as they were fetched anew
        return bars.followed_by(ended)

    async def closed_bars(self, series: Series, until: datetime, most: int) -> Bars:
        """Return the newest bars that are closed at ``until``, what is stored if no provider answers.

        Errors: as ``DataManager.closed_bars``, where nothing is stored.
        """
        one = in_one_spelling(series)
        stored = (await self._store.closed_bars_of({one: most}, until)).get(one, Bars.empty())
        try:
            return await self._data.closed_bars(
                series.symbol, series.timeframe, until, len(stored) or most, within=_PATIENCE
            )
        except TemporaryFailure:
            if not len(stored):
                raise
            return stored
