"""Bars of the past, to look back on: those that live evaluation would read, as far as they are here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from atf.errors import TemporaryFailure
from atf.market.bar_store import BarStore
from atf.market.bars import Bars, Series
from atf.market.data_manager import DataManager, in_one_spelling

_PATIENCE: Final = timedelta(seconds=30)


class PastBars:
    """Asks the DataManager, and never makes a provider on a network send years that nobody stored."""

    def __init__(self, data: DataManager, store: BarStore) -> None:
        self._data = data
        self._store = store

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
