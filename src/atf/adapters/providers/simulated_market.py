"""A made-up market, minute by minute: every number is a hash of the seed, the symbol and the minute. Pure.

Nothing depends on what was asked before or together: a day is computed from its own number alone, between the
prices at its two midnights, which are a random walk since the market's first day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from math import sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from atf.market.bars import Bars, FloatArray, TimeArray

MINUTES: Final = 1440
_DAY: Final = 86_400 * 10**9
_MINUTE: Final = 60 * 10**9
_EPOCH: Final = date(1970, 1, 1)
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))

UIntArray = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Regime:
    """A mood of the market. Units: fractions a day; ``volume`` times the usual."""

    drift: float
    volatility: float
    volume: float


@dataclass(frozen=True, slots=True)
class SimulatedMarket:
    """What the market is like.

    A regime lasts ``days_a_regime``, then another one is drawn. A jump moves the price by about ``jump_size`` up
    or down within one minute. Minutes are missing one by one (``missing_minutes``, a fraction of all) and in
    outages from a full hour on. ``minute_volume``: a usual minute's.
    """

    regimes: tuple[Regime, ...] = (
        Regime(drift=0.004, volatility=0.012, volume=1.2),
        Regime(drift=-0.004, volatility=0.015, volume=1.3),
        Regime(drift=0.0, volatility=0.005, volume=0.6),
        Regime(drift=0.0, volatility=0.035, volume=2.0),
    )
    days_a_regime: int = 15
    jumps_a_day: float = 0.05
    jump_size: float = 0.04
    missing_minutes: float = 0.002
    outages_a_day: float = 0.02
    outage_minutes: int = 25
    minute_volume: float = 1000.0
    first_day: date = date(2000, 1, 1)


class SymbolPrices:
    """The minutes of one symbol in a market."""

    def __init__(self, market: SimulatedMarket, seed: int, symbol: str) -> None:
        self._market = market
        self._name = f"{seed}/{symbol}"
        self._first = (market.first_day - _EPOCH).days
        base = 10 ** (0.5 + 3 * float(_uniform(_hashed(self._key("base"), np.zeros(1, np.int64)))[0]))
        self._log_base = float(np.log(base))
        self._decimals = 4 if base < 100 else 2

    def minutes(self, first: int, end: int) -> Bars:
        """Return the minutes of the days ``first`` to before ``end``, counted since 1970; those that exist."""
        first = max(first, self._first)
        if end <= first:
            return Bars.empty()
        days = np.arange(first, end)
        path = self._path(days)
        number = days[:, None] * MINUTES + np.arange(MINUTES)
        opens, closes = path[:, :-1], path[:, 1:]
        above, below = self._wicks(days, number)
        highs, lows = np.maximum(opens, closes) + above, np.minimum(opens, closes) - below
        columns = [self._rounded(each) for each in (opens, highs, lows, closes)]
        columns.append(self._volumes(days, number))
        kept = self._exists(number)
        values = np.column_stack([each[kept] for each in columns])
        return Bars.from_columns(number[kept] * _MINUTE, values)

    def _key(self, purpose: str) -> np.uint64:
        digest = blake2b(f"{self._name}/{purpose}".encode(), digest_size=8).digest()
        return np.uint64(int.from_bytes(digest, "little"))

    def _regimes(self, days: TimeArray, what: str) -> FloatArray:
        regimes = self._market.regimes
        drawn = _hashed(self._key("regime"), days // self._market.days_a_regime) % np.uint64(len(regimes))
        return np.array([getattr(each, what) for each in regimes], dtype=np.float64)[drawn.astype(np.int64)]

    def _jumps(self, days: TimeArray) -> FloatArray:
        """Return the logarithmic jump of each day, 0 on most."""
        happens = _uniform(_hashed(self._key("jump"), days)) < self._market.jumps_a_day
        return np.where(happens, self._market.jump_size * _normal(_hashed(self._key("size"), days)), 0.0)

    def _midnights(self, last: int) -> FloatArray:
        """Return the logarithmic price at each midnight from the market's first day to ``last``."""
        days = np.arange(self._first, last)
        noise = self._regimes(days, "volatility") * _normal(_hashed(self._key("day"), days))
        moves = self._regimes(days, "drift") + noise + self._jumps(days)
        return self._log_base + np.concatenate([[0.0], np.cumsum(moves)])

    def _path(self, days: TimeArray) -> FloatArray:
        """Return the logarithmic prices at the 1441 edges of each day's minutes: a bridge between midnights."""
        midnights = self._midnights(int(days[-1]) + 1)[days[0] - self._first :]
        jumps = self._jumps(days)[:, None]
        number = days[:, None] * MINUTES + np.arange(MINUTES)
        scale = self._regimes(days, "volatility")[:, None] / sqrt(MINUTES)
        walk = np.zeros((len(days), MINUTES + 1))
        np.cumsum(scale * _normal(_hashed(self._key("minute"), number)), axis=1, out=walk[:, 1:])
        share = np.arange(MINUTES + 1) / MINUTES
        ends = (midnights[1:, None] - jumps) - midnights[:-1, None]
        jumped_at = (_hashed(self._key("when"), days) % np.uint64(MINUTES)).astype(np.int64)[:, None]
        has_jumped = np.arange(MINUTES + 1) > jumped_at
        return midnights[:-1, None] + walk + share * (ends - walk[:, -1:]) + jumps * has_jumped

    def _wicks(self, days: TimeArray, number: TimeArray) -> tuple[FloatArray, FloatArray]:
        """Return how far each minute goes above and below its open and close, logarithmically."""
        scale = self._regimes(days, "volatility")[:, None] / sqrt(MINUTES) / 2
        drawn = _hashed(self._key("wick"), number)
        return scale * _uniform(drawn), scale * _uniform(drawn << np.uint64(26))

    def _rounded(self, logarithm: FloatArray) -> FloatArray:
        # Rounded, as a market has ticks; and no last bit can depend on how the computer groups the work.
        prices: FloatArray = np.maximum(np.round(np.exp(logarithm), self._decimals), 10.0**-self._decimals)
        return prices

    def _volumes(self, days: TimeArray, number: TimeArray) -> FloatArray:
        """Return whole numbers, so that their sums are exact in any grouping: busy by day, quiet by night."""
        hour = np.arange(MINUTES) / MINUTES
        by_time = 1.0 - 0.6 * np.cos(2 * np.pi * (hour - 1 / 12))
        mood = self._regimes(days, "volume")[:, None]
        noise = 0.25 + 1.5 * _uniform(_hashed(self._key("volume"), number))
        return np.round(self._market.minute_volume * mood * by_time * noise)

    def _exists(self, number: TimeArray) -> npt.NDArray[np.bool_]:
        alone = _uniform(_hashed(self._key("missing"), number)) < self._market.missing_minutes
        starts = _uniform(_hashed(self._key("outage"), number // 60)) < self._market.outages_a_day / 24
        exists: npt.NDArray[np.bool_] = ~(alone | starts & (number % 60 < self._market.outage_minutes))
        return exists


def _hashed(key: np.uint64, numbers: TimeArray) -> UIntArray:
    """Return 64 random bits for each number (splitmix64)."""
    bits = np.add(numbers, 1).astype(np.uint64)
    bits *= _STEP
    bits += key
    for shift, factor in _MIX:
        bits ^= bits >> np.uint64(shift)
        bits *= factor
    bits ^= bits >> np.uint64(31)
    return bits


def _uniform(bits: UIntArray) -> FloatArray:
    """Return numbers from 0 to below 1, from the upper bits."""
    numbers: FloatArray = (bits >> np.uint64(38)).astype(np.float64) * 2.0**-26
    return numbers


def _normal(bits: UIntArray) -> FloatArray:
    """Return numbers of mean 0 and deviation 1, nearly normal: the sum of four uniform ones."""
    quarters = bits.view(np.uint16).reshape(*bits.shape, 4)
    total = quarters.sum(axis=-1, dtype=np.float64)
    numbers: FloatArray = (total - 2 * 65_535) / (65_535 * sqrt(1 / 3))
    return numbers
