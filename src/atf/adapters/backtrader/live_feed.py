"""The datas of a strategy: each gives the bars of one series as they were told, and never invents one."""

from __future__ import annotations

from collections import deque
from typing import Any

import backtrader as bt

from atf.adapters.backtrader.bar_time import BACKTRADER_TIMEFRAMES
from atf.errors import InvariantViolation
from atf.market.bars import Timeframe
from atf.trading.bot_messages import Candle


class LiveFeed(bt.feed.DataBase):  # type: ignore[misc]
    """A series whose bars are put in by the conversation with the service.

    It never ends: without a bar it has none yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[tuple[float, Candle]] = deque()
        self.newest = float("-inf")

    def islive(self) -> bool:
        """Keep Backtrader from loading everything at once."""
        return True

    def put(self, end: float, candle: Candle) -> None:
        """Queue a bar. Errors: InvariantViolation if it is not newer than all before it."""
        if end <= self.newest:
            raise InvariantViolation(f"a bar of {self._name} is not newer than the one before it")
        self.newest = end
        self.waiting.append((end, candle))

    @property
    def has_bars(self) -> bool:
        """Whether bars wait, or one was taken back as another series has an earlier one."""
        return bool(self.waiting) or len(self) < self.buflen()

    def _load(self) -> bool | None:
        if not self.waiting:
            return None
        end, candle = self.waiting.popleft()
        lines = self.lines
        lines.datetime[0] = end
        lines.open[0], lines.high[0], lines.low[0], lines.close[0], lines.volume[0] = candle
        lines.openinterest[0] = 0.0
        return True

    def clone(self, **kwargs: Any) -> Any:
        """Return the data that a resampler of this one reads."""
        return _FeedClone(dataname=self, **kwargs)


class _FeedClone(bt.feed.DataClone):  # type: ignore[misc]
    """What a resampler reads. The same bars make the same longer bars, however fast they come."""

    def _check(self, forcedata: Any = None) -> None:
        """Look whether a bar of another series completes one of this; the machine's clock never does."""
        if forcedata is not None:
            super()._check(forcedata)

    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> None:
        """Show a bar again that was taken back; Backtrader would count it as one more bar of the original."""
        bt.feed.DataBase.advance(self, size, datamaster, ticks=ticks)


def add_feed(cerebro: Any, name: str, timeframe: Timeframe) -> LiveFeed:
    """Give a strategy one more data."""
    frame, compression = BACKTRADER_TIMEFRAMES[timeframe]
    kind: Any = LiveFeed
    feed: LiveFeed = kind(dataname=name, timeframe=frame, compression=compression)
    cerebro.adddata(feed, name=name)
    return feed


def add_resampled(cerebro: Any, feed: LiveFeed, name: str, timeframe: Timeframe) -> Any:
    """Give a strategy a data of longer bars, made of another's.

    What is traded on it is traded on the other: there is one position of a symbol, and one trade at a time.
    """
    frame, compression = BACKTRADER_TIMEFRAMES[timeframe]
    data = cerebro.resampledata(feed, name=name, timeframe=frame, compression=compression)
    data.compensate(feed)
    return data
