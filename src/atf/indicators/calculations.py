"""The numbers of the indicators, by TA-Lib; definitions and checks are in ``registry``.

Pure. Every function gets finite columns only, and more bars than the index of its first value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from atf.indicators.registry import IndicatorRequest
from atf.indicators.talib_alone import load_talib
from atf.market.bars import FloatArray

Outputs = tuple[FloatArray, ...]
Calculation = Callable[[Outputs, IndicatorRequest], Outputs]

talib = load_talib()
_NO_MOVEMENT: Final = 1e-14


def _sma(columns: Outputs, request: IndicatorRequest) -> Outputs:
    return (talib.SMA(columns[0], timeperiod=request.integer("period")),)


def _ema(columns: Outputs, request: IndicatorRequest) -> Outputs:
    return (talib.EMA(columns[0], timeperiod=request.integer("period")),)


def _rsi(columns: Outputs, request: IndicatorRequest) -> Outputs:
    """Return the RSI, and NaN where nothing moved; TA-Lib says 0 there, which reads "oversold"."""
    (source,), period = columns, request.integer("period")
    values: FloatArray = talib.RSI(source, timeperiod=period)
    suspects = values == 0.0
    if suspects.any():
        values[suspects & (_mean_movement(source, period) <= _NO_MOVEMENT)] = np.nan
    return (values,)


def _mean_movement(source: FloatArray, period: int) -> FloatArray:
    """Return the smoothed gains and losses together.

    Shape:  (n,) -> (n,); NaN before index ``period``.
    Source: Wilder's smoothing, seeded with the plain mean, as in TA-Lib.
    """
    moves = np.abs(np.diff(source))
    result = np.full(len(source), np.nan)
    mean = float(moves[:period].mean())
    result[period] = mean
    for index, move in enumerate(moves[period:].tolist(), start=period + 1):
        mean = (mean * (period - 1) + move) / period
        result[index] = mean
    return result


def _macd(columns: Outputs, request: IndicatorRequest) -> Outputs:
    fast, slow, signal = (request.integer(name) for name in ("fast", "slow", "signal"))
    macd, signal_line, hist = talib.MACD(columns[0], fastperiod=fast, slowperiod=slow, signalperiod=signal)
    return macd, signal_line, hist


def _bbands(columns: Outputs, request: IndicatorRequest) -> Outputs:
    width = request.number("stddev")
    upper, middle, lower = talib.BBANDS(columns[0], request.integer("period"), width, width)
    return middle, upper, lower


def _atr(columns: Outputs, request: IndicatorRequest) -> Outputs:
    high, low, close = columns
    return (talib.ATR(high, low, close, timeperiod=request.integer("period")),)


def _change_pct(columns: Outputs, request: IndicatorRequest) -> Outputs:
    """Return the change in percent; infinite after a zero, where TA-Lib's ROC would claim no change."""
    (source,), bars = columns, request.integer("bars")
    values = np.full(len(source), np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values[bars:] = 100.0 * (source[bars:] / source[:-bars] - 1.0)
    return (values,)


CALCULATIONS: Final[Mapping[str, Calculation]] = {
    "sma": _sma,
    "ema": _ema,
    "rsi": _rsi,
    "macd": _macd,
    "bbands": _bbands,
    "atr": _atr,
    "change_pct": _change_pct,
}
