"""A market of minutes that are made up as they are asked for, and what a bot trades there if nothing stops it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from atf.market.bars import Bars, Series, Timeframe
from atf.market.fetched_bars import FetchedBars
from atf.trading.bot_messages import Candle
from tests.trades_by_hand import DecidedOrder, Opening

SERIES: Final = Series("BTC", Timeframe.M1)
BEGIN: Final = datetime(2026, 3, 2, tzinfo=UTC)
PERIOD: Final = 10
SIZE: Final = 3
_MIXER: Final = 2_654_435_761


class EndlessMarket:
    """What a BarFeed needs of a DataManager."""

    async def closed_bars(self, symbol: str, timeframe: Timeframe, until: datetime, n: int) -> Bars:
        """Return the newest bars that are closed."""
        closed = (until - BEGIN) // timeframe.length
        return Bars.from_rows([(open_time(bar), *candle_at(bar)) for bar in range(max(0, closed - n), closed)])

    async def closed_bars_of(self, wanted: Mapping[Series, int], *, until: datetime) -> FetchedBars:
        """Return those of each series."""
        return FetchedBars(
            {one: await self.closed_bars(one.symbol, one.timeframe, until, n) for one, n in wanted.items()}
        )


def open_time(bar: int) -> datetime:
    """When a bar opens, by its number."""
    return BEGIN + bar * SERIES.timeframe.length


def candle_at(bar: int) -> Candle:
    """The bar of this number, the same one each time: it goes up and down, now and then through its average."""
    opened, close = _price(2 * bar), _price(2 * bar + 1)
    return (opened, max(opened, close) + 1, min(opened, close) - 1, close, 1000.0)


def _price(moment: int) -> float:
    noise = moment * _MIXER % 2**32 / 2**32
    return round(100 + 5 * math.sin(moment / 8) + noise, 2)


def decided_by_hand(bars: range) -> Iterator[DecidedOrder]:
    """Yield the orders of a strategy that buys above the average of the last closes and sells below it."""
    is_long = False
    closes = deque((candle_at(bar)[3] for bar in range(bars.start - PERIOD, bars.start)), PERIOD)
    for bar in bars:
        closes.append(candle_at(bar)[3])
        if is_long is not (closes[-1] > math.fsum(closes) / PERIOD):
            is_long = not is_long
            yield DecidedOrder(open_time(bar), 1 if is_long else -1, SIZE)


def openings_by_hand(bars: range) -> Iterator[Opening]:
    """Yield what can be traded at the opens of bars."""
    for bar in bars:
        yield Opening(open_time(bar), Decimal(repr(candle_at(bar)[0])))
