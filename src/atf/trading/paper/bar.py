"""What fills orders: a closed bar, or a tick, which is a bar of one price and no length. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from atf.market.bars import Series
from atf.trading.bot_messages import Candle
from atf.trading.paper.amounts import LARGEST, SMALLEST, price_of, volume_of


@dataclass(frozen=True, slots=True)
class PaperBar:
    """Prices from one instant to another; ``volume`` is None where it is not known."""

    symbol: str
    opens_at: datetime
    closes_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None = None


def bar_of(series: Series, open_time: datetime, candle: Candle) -> PaperBar | None:
    """Return a closed bar; None as ``paper_bar`` does."""
    return paper_bar(series.symbol, open_time, open_time + series.timeframe.length, candle)


def paper_bar(symbol: str, opens_at: datetime, closes_at: datetime, candle: Candle) -> PaperBar | None:
    """Return prices as they fill orders.

    None if a price is missing or no market could have made them: nothing is filled then.
    """
    opened, high, low, close = (price_of(number) for number in candle[:4])
    if opened is None or high is None or low is None or close is None:
        return None
    if not low <= min(opened, close) <= max(opened, close) <= high:
        return None
    return PaperBar(symbol, opens_at, closes_at, opened, high, low, close, volume_of(candle[4]))


def tick_of(symbol: str, at: datetime, price: Decimal, volume: Decimal | None = None) -> PaperBar | None:
    """Return a tick; None if it has no price."""
    if not price.is_finite() or not SMALLEST <= price <= LARGEST:
        return None
    return PaperBar(symbol, at, at, price, price, price, price, volume)
