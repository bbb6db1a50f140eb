"""Whole series of indicators through the IndicatorService and by TA-Lib directly, in turns call by call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Final

import numpy as np
import talib

from atf.indicators.indicator import IndicatorRequest
from atf.indicators.indicator_service import IndicatorService
from atf.indicators.registry import resolve
from atf.market.bars import Bars
from benchmarks.measure import BenchmarkError, Observation

Direct = Callable[[Bars], Any]

# With the service's own defaults; each gives first what the service gives first. Left out are those that are more
# than one function of TA-Lib, or none.
DIRECT: Final[Mapping[str, Direct]] = {
    "sma": lambda bars: talib.SMA(bars.close, timeperiod=20),
    "ema": lambda bars: talib.EMA(bars.close, timeperiod=20),
    "wma": lambda bars: talib.WMA(bars.close, timeperiod=20),
    "dema": lambda bars: talib.DEMA(bars.close, timeperiod=20),
    "tema": lambda bars: talib.TEMA(bars.close, timeperiod=20),
    "kama": lambda bars: talib.KAMA(bars.close, timeperiod=20),
    "rsi": lambda bars: talib.RSI(bars.close, timeperiod=14),
    "stochrsi": lambda bars: talib.STOCHRSI(bars.close, timeperiod=14, fastk_period=14, fastd_period=3),
    "macd": lambda bars: talib.MACD(bars.close, fastperiod=12, slowperiod=26, signalperiod=9),
    "atr": lambda bars: talib.ATR(bars.high, bars.low, bars.close, timeperiod=14),
    "roc": lambda bars: talib.ROC(bars.close, timeperiod=10),
    "mom": lambda bars: talib.MOM(bars.close, timeperiod=10),
    "stoch": lambda bars: talib.STOCH(
        bars.high, bars.low, bars.close, fastk_period=14, slowk_period=3, slowd_period=3
    ),
    "cci": lambda bars: talib.CCI(bars.high, bars.low, bars.close, timeperiod=20),
    "willr": lambda bars: talib.WILLR(bars.high, bars.low, bars.close, timeperiod=14),
    "psar": lambda bars: talib.SAR(bars.high, bars.low, acceleration=0.02, maximum=0.2),
    "mfi": lambda bars: talib.MFI(bars.high, bars.low, bars.close, bars.volume, timeperiod=14),
    "obv": lambda bars: talib.OBV(bars.close, bars.volume),
}


class IndicatorCalls:
    """One series of bars, and what is computed over it."""

    def __init__(self, bars: Bars, repeats: int) -> None:
        self._bars = bars
        self._repeats = repeats
        self._service = IndicatorService()
        self._requests = {name: resolve(name, {}) for name in DIRECT}

    def require_same(self) -> None:
        """Raise BenchmarkError unless both sides have the same values."""
        for name, request in self._requests.items():
            direct = DIRECT[name](self._bars)
            first = direct[0] if isinstance(direct, tuple) else direct
            if not np.array_equal(self._service.compute(self._bars, request), first, equal_nan=True):
                raise BenchmarkError(f"{name} by the service is not what TA-Lib says")

    async def one_by_one(self) -> Observation:
        """Compute each indicator by itself.

        Units: microseconds of all of them, of an average call and of the dearest one's overhead.
        """
        pairs = [self._pair(name, request) for name, request in self._requests.items()]
        ours, direct = (sum(side) for side in zip(*pairs, strict=True))
        return {
            "ours_us": ours,
            "talib_us": direct,
            "overhead_us": (ours - direct) / len(pairs),
            "worst_overhead_us": max(mine - plain for mine, plain in pairs),
            "worst_ratio": max(mine / plain for mine, plain in pairs),
        }

    async def together(self) -> Observation:
        """Compute all indicators in one call of the service, as a chart does. Units: microseconds."""
        requests = list(self._requests.values())
        ours, direct = self._in_turns(
            lambda: self._service.compute_each(self._bars, requests),
            lambda: [function(self._bars) for function in DIRECT.values()],
        )
        return {"ours_us": ours, "talib_us": direct}

    def _pair(self, name: str, request: IndicatorRequest) -> tuple[float, float]:
        direct = DIRECT[name]
        return self._in_turns(lambda: self._service.compute(self._bars, request), lambda: direct(self._bars))

    def _in_turns(self, ours: Callable[[], object], direct: Callable[[], object]) -> tuple[float, float]:
        """Return microseconds of the processor for each; a machine that slows down slows both."""
        seconds: dict[Callable[[], object], list[float]] = {ours: [], direct: []}
        for number in range(self._repeats):
            for function in (ours, direct) if number % 2 else (direct, ours):  # who goes second finds warm caches
                begin = time.thread_time()
                function()
                seconds[function].append(time.thread_time() - begin)
        return _microseconds(seconds[ours]), _microseconds(seconds[direct])


def _microseconds(seconds: Sequence[float]) -> float:
    return median(seconds) * 1e6
