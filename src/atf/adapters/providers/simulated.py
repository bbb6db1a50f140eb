"""Provider ``simulated``: bars of a made-up market for demos and load tests, the same for everybody who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from atf.adapters.providers.finer_bars import forming_of_finer
from atf.adapters.providers.simulated_market import SimulatedMarket, SymbolPrices
from atf.errors import InvalidInput, NotFound
from atf.market.bars import Bars, Series, Timeframe
from atf.market.forming import FormingBar
from atf.market.provider import ProviderTraits
from atf.market.resampling import resampled
from atf.market.symbols import canonical

_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONDAY: Final = 4  # 1970-01-05, counted in days
_CHUNK: Final = 128  # days at a time: 184,000 minutes, 10 MB
_NAMES: Final = ("SIM", "AAPL", "MSFT", "BTC/USDT", "EUR/USD")


class SimulatedBarProvider:
    """Knows whatever looks like a symbol, around the clock, at every timeframe.

    A bar depends on the seed, the market's parameters, the symbol and its time, and on nothing else; coarser bars
    are the finer ones resampled, also with the market's gaps. It has no clock of its own: every bar that is
    closed at ``until`` is there.
    """

    name = "simulated"
    traits = ProviderTraits(is_local=True, settle=timedelta(0))

    def __init__(self, seed: int = 1, market: SimulatedMarket | None = None) -> None:
        self._seed = seed
        self._market = market or SimulatedMarket()

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until`` and open at ``since`` or later.

        Errors: NotFound for what cannot be a symbol.
        """
        if not _is_symbol(series.symbol):
            raise NotFound(f"{series.symbol!r} is no symbol that could be simulated")
        return await asyncio.to_thread(self._bars, series, until, count, since)

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        """Return the bar that is forming, made of its minutes that have closed.

        Errors: as ``forming_of_finer``.
        """
        return await forming_of_finer(self, series, now)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:  # noqa: ARG002
        """Tell whether this looks like a symbol."""
        return _is_symbol(symbol)

    async def symbols(self) -> Sequence[str]:
        """Return a few symbols; any other one is known as well."""
        return _NAMES

    def _bars(self, series: Series, until: datetime, count: int, since: datetime | None) -> Bars:
        """Go back from ``until`` in whole days, or weeks, until there are enough bars or no older ones."""
        prices = SymbolPrices(self._market, self._seed, canonical(series.symbol))
        oldest = self._market_day(since)
        end = (until - _EPOCH) // _DAY + 1
        found = Bars.empty()
        wanted = count
        while end > oldest and wanted > 0:
            first = max(oldest, _first_day(end, wanted, series.timeframe))
            older = _resampled(prices, first, end, series.timeframe)
            found = older.followed_by(found).since(since).closed_at(until, series.timeframe).last(count)
            end, wanted = first, count - len(found)
        return found

    def _market_day(self, since: datetime | None) -> int:
        """Return the first day that is looked at: a Monday, so that no week is cut."""
        day = (self._market.first_day - _EPOCH.date()).days
        if since is not None:
            day = max(day, (since - _EPOCH) // _DAY)
        return (day - _MONDAY) // 7 * 7 + _MONDAY


def _first_day(end: int, count: int, timeframe: Timeframe) -> int:
    """Return the day from which on so many bars lie before a day's end, with a few more for the gaps."""
    days = -(-(count * timeframe.length) // _DAY) + 1
    days += days // 50
    return (end - days - _MONDAY) // 7 * 7 + _MONDAY if timeframe is Timeframe.W1 else end - days


def _resampled(prices: SymbolPrices, first: int, end: int, timeframe: Timeframe) -> Bars:
    """Return the bars of some days, made of their minutes a chunk at a time."""
    fine = min(timeframe, Timeframe.D1, key=lambda each: each.length)
    found = Bars.empty()
    for day in range(first, end, _CHUNK):
        minutes = prices.minutes(day, min(day + _CHUNK, end))
        found = found.followed_by(resampled(minutes, Timeframe.M1, fine))
    return resampled(found, fine, timeframe)


def _is_symbol(symbol: str) -> bool:
    try:
        canonical(symbol)
    except InvalidInput:
        return False
    return True
