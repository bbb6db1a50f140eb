"""The numbers of the indicators, by TA-Lib; definitions and checks are in ``registry``.

Pure. What every function gets and returns stands at ``Calculation``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from atf.indicators.indicator import Calculation, IndicatorRequest, Outputs, without_infinite
from atf.indicators.talib_alone import load_talib
from atf.market.bars import FloatArray

talib = load_talib()
_NO_MOVEMENT: Final = 1e-14


def _rsi(columns: Outputs, request: IndicatorRequest) -> Outputs:
    """Return the RSI, and NaN where nothing moved; TA-Lib says 0 there, which reads "oversold"."""
    (source,), period = columns, request.integer("period")
    values: FloatArray = talib.RSI(source, timeperiod=period)
    suspects = values == 0.0
    if np.count_nonzero(suspects):  # a third of the time that any() takes over a window
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


def _change_pct(columns: Outputs, request: IndicatorRequest) -> Outputs:
    """Return the change in percent; unknown after a zero, where TA-Lib's ROC would claim no change."""
    (source,), bars = columns, request.integer("bars")
    values = np.full(len(source), np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values[bars:] = 100.0 * (source[bars:] / source[:-bars] - 1.0)
    return (without_infinite(values),)


def _by_period(name: str) -> Calculation:
    """A function of TA-Lib with one result and one parameter, over all columns that the indicator reads."""
    function = getattr(talib, name)

    def calculate(columns: Outputs, request: IndicatorRequest) -> Outputs:
        return (function(*columns, timeperiod=request.integer("period")),)

    return calculate


def _stochrsi(columns: Outputs, request: IndicatorRequest) -> Outputs:
    period, k, d = (request.integer(name) for name in ("period", "k", "d"))
    fast_k, fast_d = talib.STOCHRSI(columns[0], timeperiod=period, fastk_period=k, fastd_period=d)
    return fast_k, fast_d


def _stoch(columns: Outputs, request: IndicatorRequest) -> Outputs:
    k, smooth, d = (request.integer(name) for name in ("k", "smooth", "d"))
    slow_k, slow_d = talib.STOCH(*columns, fastk_period=k, slowk_period=smooth, slowd_period=d)
    return slow_k, slow_d


def _adx(columns: Outputs, request: IndicatorRequest) -> Outputs:
    period = request.integer("period")
    outputs = [function(*columns, timeperiod=period) for function in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)]
    for early in outputs[1:]:  # known before the index itself is: all outputs begin together
        early[: 2 * period - 1] = np.nan
    return tuple(outputs)


def _aroon(columns: Outputs, request: IndicatorRequest) -> Outputs:
    down, up = talib.AROON(*columns, timeperiod=request.integer("period"))
    return up - down, up, down


def _psar(columns: Outputs, request: IndicatorRequest) -> Outputs:
    step, most = request.number("acceleration"), request.number("maximum")
    return (talib.SAR(*columns, acceleration=step, maximum=most),)


def _donchian(columns: Outputs, request: IndicatorRequest) -> Outputs:
    high, low = columns
    period = request.integer("period")
    upper, lower = talib.MAX(high, timeperiod=period), talib.MIN(low, timeperiod=period)
    return (upper + lower) / 2, upper, lower


def _keltner(columns: Outputs, request: IndicatorRequest) -> Outputs:
    middle = talib.EMA(columns[2], timeperiod=request.integer("period"))
    width = request.number("multiplier") * talib.ATR(*columns, timeperiod=request.integer("atr_period"))
    middle[np.isnan(width)] = np.nan
    return middle, middle + width, middle - width


def _vwap(columns: Outputs, request: IndicatorRequest) -> Outputs:
    """Return the weighted average; unknown where nothing was traded."""
    high, low, close, volume = columns
    period = request.integer("period")
    traded = talib.SUM((high + low + close) / 3 * volume, timeperiod=period)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (without_infinite(traded / talib.SUM(volume, timeperiod=period)),)


def _obv(columns: Outputs, request: IndicatorRequest) -> Outputs:  # noqa: ARG001 - it has no parameters
    return (talib.OBV(*columns),)


def _volatility(columns: Outputs, request: IndicatorRequest) -> Outputs:
    """Return the annual volatility; unknown where a price in the period is not positive."""
    (source,), period = columns, request.integer("period")
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(source))
        windows = np.lib.stride_tricks.sliding_window_view(returns, period)
        deviations = windows.std(axis=1, ddof=1)
    values = np.full(len(source), np.nan)
    values[period:] = deviations * np.sqrt(request.integer("bars_a_year"))
    return (without_infinite(values),)


CALCULATIONS: Final[Mapping[str, Calculation]] = {
    "sma": _by_period("SMA"),
    "ema": _by_period("EMA"),
    "wma": _by_period("WMA"),
    "dema": _by_period("DEMA"),
    "tema": _by_period("TEMA"),
    "kama": _by_period("KAMA"),
    "rsi": _rsi,
    "stochrsi": _stochrsi,
    "macd": _macd,
    "bbands": _bbands,
    "atr": _by_period("ATR"),
    "change_pct": _change_pct,
    "roc": _by_period("ROC"),
    "mom": _by_period("MOM"),
    "adx": _adx,
    "stoch": _stoch,
    "cci": _by_period("CCI"),
    "willr": _by_period("WILLR"),
    "aroon": _aroon,
    "psar": _psar,
    "donchian": _donchian,
    "keltner": _keltner,
    "vwap": _vwap,
    "mfi": _by_period("MFI"),
    "obv": _obv,
    "volatility": _volatility,
}
