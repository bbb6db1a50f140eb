"""The indicators that ATF comes with. Their values follow TA-Lib where it has them; ``calculations`` computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from atf.indicators.indicator import (
    Indicator,
    IndicatorRequest,
    IntegerParameter,
    NumberParameter,
    Parameter,
    SourceParameter,
)

Index = Callable[[IndicatorRequest], int]

_SOURCE: Final = SourceParameter()
_HLC: Final = ("high", "low", "close")
_HLCV: Final = (*_HLC, "volume")
_CHANNEL: Final = ("middle", "upper", "lower")


def _period(default: int, low: int = 2) -> IntegerParameter:
    return IntegerParameter("period", default, low=low)


def _of(*names: str) -> Index:
    """Return the longest of these parameters."""
    return lambda request: max(request.integer(name) for name in names)


def _sum_of(*names: str, less: int) -> Index:
    return lambda request: sum(request.integer(name) for name in names) - less


def _average(name: str, doc: str, *, first: Callable[[int], int], low: int = 2) -> Indicator:
    """A moving average of one column over ``period`` bars."""
    return Indicator(
        name,
        doc,
        (_period(20, low), _SOURCE),
        first_index=lambda request: first(request.integer("period")),
        longest_period=_of("period"),
    )


def _change(name: str, doc: str, parameter: IntegerParameter) -> Indicator:
    """Something about one column and its value some bars ago."""
    return Indicator(
        name,
        doc,
        (parameter, _SOURCE),
        first_index=_of(parameter.name),
        longest_period=_of(parameter.name),
    )


def _fast_before_slow(request: IndicatorRequest) -> tuple[str, str] | None:
    # TA-Lib exchanges the two without a word, and the sign of the MACD would not be what was asked for.
    fast, slow = request.integer("fast"), request.integer("slow")
    return ("fast", f"must be less than slow ({slow}), got {fast}") if fast >= slow else None


def _acceleration_within_maximum(request: IndicatorRequest) -> tuple[str, str] | None:
    step, most = request.number("acceleration"), request.number("maximum")
    return ("acceleration", f"must not exceed maximum ({most:g}), got {step:g}") if step > most else None


_STOCH: Final[tuple[Parameter, ...]] = (
    IntegerParameter("k", 14, low=1),
    IntegerParameter("smooth", 3, low=1),
    IntegerParameter("d", 3, low=1),
)
_STOCHRSI: Final[tuple[Parameter, ...]] = (
    _period(14),
    IntegerParameter("k", 14, low=1),
    IntegerParameter("d", 3, low=1),
    _SOURCE,
)
_MACD: Final[tuple[Parameter, ...]] = (
    IntegerParameter("fast", 12, low=2),
    IntegerParameter("slow", 26, low=2),
    IntegerParameter("signal", 9, low=1),
    _SOURCE,
)

INDICATORS: Final = (
    # A period of 1 is the source itself, which is of use where a template fills in the period.
    _average("sma", "Simple moving average, in the source's unit.", first=lambda n: n - 1, low=1),
    _average("ema", "Exponential moving average, in the source's unit.", first=lambda n: n - 1, low=1),
    _average("wma", "Linearly weighted moving average, in the source's unit.", first=lambda n: n - 1),
    _average("dema", "Double exponential moving average, in the source's unit.", first=lambda n: 2 * (n - 1)),
    _average("tema", "Triple exponential moving average, in the source's unit.", first=lambda n: 3 * (n - 1)),
    _average("kama", "Kaufman's adaptive moving average, in the source's unit.", first=lambda n: n),
    # Of one change the RSI would be 0 or 100 only.
    _change("rsi", "Relative strength index after Wilder, 0 to 100.", _period(14)),
    Indicator(
        "stochrsi",
        "Where the RSI lies between its lowest and highest, 0 to 100; d is k smoothed.",
        _STOCHRSI,
        first_index=_sum_of("period", "k", "d", less=2),
        longest_period=_of("period", "k", "d"),
        outputs=("k", "d"),
    ),
    Indicator(
        "macd",
        "Moving average convergence and divergence: fast less slow EMA, in the source's unit.",
        _MACD,
        first_index=_sum_of("slow", "signal", less=2),
        longest_period=_of("slow", "signal"),
        outputs=("macd", "signal", "hist"),
        constraint=_fast_before_slow,
    ),
    Indicator(
        "bbands",
        "Bollinger bands: simple average and population deviations around it, in the source's unit.",
        (_period(20), NumberParameter("stddev", 2.0, low=0, high=100), _SOURCE),
        first_index=lambda request: request.integer("period") - 1,
        longest_period=_of("period"),
        outputs=_CHANNEL,
        aliases=("bb", "bollinger"),
    ),
    Indicator(
        "atr",
        "Average true range after Wilder, in the price's unit.",
        (_period(14, low=1),),
        first_index=_of("period"),
        longest_period=_of("period"),
        columns=_HLC,
    ),
    _change("change_pct", "Change in percent.", IntegerParameter("bars", 1, low=1)),
    _change("roc", "Rate of change in percent.", _period(10, low=1)),
    _change("mom", "Momentum: change in the source's unit.", _period(10, low=1)),
    Indicator(
        "adx",
        "Average directional index after Wilder, 0 to 100, with the directional indicators behind it.",
        (_period(14),),
        first_index=lambda request: 2 * request.integer("period") - 1,
        longest_period=_of("period"),
        outputs=("adx", "plus_di", "minus_di"),
        columns=_HLC,
    ),
    Indicator(
        "stoch",
        "Stochastic oscillator, 0 to 100: k smoothed over `smooth` bars, d its average.",
        _STOCH,
        first_index=_sum_of("k", "smooth", "d", less=3),
        longest_period=_of("k", "smooth", "d"),
        outputs=("k", "d"),
        columns=_HLC,
        aliases=("stochastic",),
    ),
    Indicator(
        "cci",
        "Commodity channel index.",
        (_period(20),),
        first_index=lambda request: request.integer("period") - 1,
        longest_period=_of("period"),
        columns=_HLC,
    ),
    Indicator(
        "willr",
        "Williams %R, -100 to 0.",
        (_period(14),),
        first_index=lambda request: request.integer("period") - 1,
        longest_period=_of("period"),
        columns=_HLC,
        aliases=("williams",),
    ),
    Indicator(
        "aroon",
        "How recent the highest high and lowest low are, 0 to 100; the oscillator is up less down.",
        (_period(25),),
        first_index=_of("period"),
        longest_period=_of("period"),
        outputs=("oscillator", "up", "down"),
        columns=("high", "low"),
    ),
    Indicator(
        "psar",
        "Parabolic stop and reverse, in the price's unit.",
        (
            NumberParameter("acceleration", 0.02, low=0, high=1),
            NumberParameter("maximum", 0.2, low=0, high=1),
        ),
        first_index=lambda _: 1,
        longest_period=lambda _: 1,
        columns=("high", "low"),
        aliases=("sar",),
        constraint=_acceleration_within_maximum,
    ),
    Indicator(
        "donchian",
        "Donchian channel: highest high, lowest low and their middle, in the price's unit.",
        (_period(20),),
        first_index=lambda request: request.integer("period") - 1,
        longest_period=_of("period"),
        outputs=_CHANNEL,
        columns=("high", "low"),
    ),
    Indicator(
        "keltner",
        "Keltner channel: EMA of the close and multiples of the ATR around it, in the price's unit.",
        (
            _period(20),
            NumberParameter("multiplier", 2.0, low=0, high=100),
            IntegerParameter("atr_period", 10, low=1),
        ),
        first_index=lambda request: max(request.integer("period") - 1, request.integer("atr_period")),
        longest_period=_of("period", "atr_period"),
        outputs=_CHANNEL,
        columns=_HLC,
    ),
    Indicator(
        "vwap",
        "Average of the typical price weighted by volume over `period` bars, in the price's unit.",
        (_period(20),),
        first_index=lambda request: request.integer("period") - 1,
        longest_period=_of("period"),
        columns=_HLCV,
    ),
    Indicator(
        "mfi",
        "Money flow index, 0 to 100.",
        (_period(14),),
        first_index=_of("period"),
        longest_period=_of("period"),
        columns=_HLCV,
    ),
    Indicator(
        "obv",
        "On-balance volume since the window's first bar; only its changes mean something.",
        (),
        first_index=lambda _: 0,
        longest_period=lambda _: 1,
        columns=("close", "volume"),
    ),
    Indicator(
        "volatility",
        "Realised volatility: sample deviation of logarithmic returns, a fraction a year.",
        (_period(20), IntegerParameter("bars_a_year", 252, low=1, high=525_600), _SOURCE),
        first_index=_of("period"),
        longest_period=_of("period"),
        aliases=("realised_volatility", "realized_volatility"),
    ),
)
