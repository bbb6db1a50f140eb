"""Provider ``replay``: stored bars as if they were arriving live; market time decides which are closed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from atf.adapters.providers.finer_bars import forming_of_finer
from atf.errors import NotFound
from atf.market.bars import Bars, Series, Timeframe
from atf.market.due_bars import DueBars
from atf.market.forming import FormingBar
from atf.market.provider import ProviderTraits


class BarStore(Protocol):
    """Where the replayed bars lie."""

    async def closed_bars(self, series: Series, until: datetime, count: int) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until``, oldest first."""
        ...

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Return whether any bar of the series is stored."""
        ...

    async def symbols(self) -> Sequence[str]:
        """Return the stored symbols."""
        ...


class ReplayBarProvider:
    """Serves the bar store; a symbol that lists later has no bars yet, which is not the same as unknown."""

    name = "replay"
    traits = ProviderTraits(is_local=True, settle=timedelta(0))

    def __init__(self, store: BarStore, due: DueBars | None = None) -> None:
        """``due`` knows the sessions that forming days are made of; without it they are UTC days."""
        self._store = store
        self._due = due

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Return the newest closed bars that open at ``since`` or later.

        Errors: NotFound for a series of which nothing is stored.
        """
        bars = await self._store.closed_bars(series, until, count)
        if not len(bars) and not await self._store.knows(series.symbol, series.timeframe):
            raise NotFound(f"no bars of {series} are stored")
        return bars.since(since)

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        """Return the bar that is forming, made of stored finer ones that have closed.

        Errors: as ``forming_of_finer``.
        """
        return await forming_of_finer(self, series, now, self._due)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Return whether the series can be replayed."""
        return await self._store.knows(symbol, timeframe)

    async def symbols(self) -> Sequence[str]:
        """Return what can be replayed."""
        return await self._store.symbols()
