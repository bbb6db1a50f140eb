"""What is wrong with bars: those that must not be used, and those that a person should look at. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from atf.market.bars import Bars, FloatArray, Timeframe
from atf.market.resampling import opening_times

SPIKE: Final = 0.5
"""A close that differs by more than this fraction from both of its neighbours, which agree, is a spike."""

BoolArray = npt.NDArray[np.bool_]


class Flaw(StrEnum):
    """What may be wrong with a bar. The first ones are impossible: such a bar is put aside, never used."""

    MISALIGNED = "opens between two bars of its timeframe"
    HIGH_BELOW_LOW = "high is below low"
    OUTSIDE_RANGE = "open or close lies outside of low and high"
    NOT_POSITIVE = "a price is zero or negative"
    NEGATIVE_VOLUME = "volume is negative"
    NO_PRICE = "has no close"
    FUTURE = "opens in the future"
    SPIKE = "differs from both neighbours by more than half"

    @property
    def is_impossible(self) -> bool:
        """Whether no market could have made such a bar."""
        return self is not Flaw.SPIKE


@dataclass(frozen=True, slots=True)
class Finding:
    """A bar and what is wrong with it."""

    index: int
    flaw: Flaw


@dataclass(frozen=True, slots=True)
class Sorted:
    """Bars that may be used, and the others with the reason."""

    good: Bars
    bad: Bars
    reasons: tuple[Flaw, ...]


def findings(bars: Bars, timeframe: Timeframe) -> list[Finding]:
    """Return what is wrong, by time; of a bar with several flaws the first of ``Flaw``."""
    found = [
        Finding(int(index), flaw) for flaw, mask in _masks(bars, timeframe) for index in np.flatnonzero(mask)
    ]
    first: dict[int, Finding] = {}
    for finding in found:
        first.setdefault(finding.index, finding)
    return sorted(first.values(), key=lambda finding: finding.index)


def sort_out(bars: Bars, timeframe: Timeframe) -> Sorted:
    """Part bars that are possible from those that are not."""
    impossible = [one for one in findings(bars, timeframe) if one.flaw.is_impossible]
    is_bad = np.zeros(len(bars), dtype=np.bool_)
    is_bad[[one.index for one in impossible]] = True
    return Sorted(bars.where(~is_bad), bars.where(is_bad), tuple(one.flaw for one in impossible))


def _masks(bars: Bars, timeframe: Timeframe) -> list[tuple[Flaw, BoolArray]]:
    prices = np.column_stack([bars.open, bars.high, bars.low, bars.close]).reshape(len(bars), 4)
    with np.errstate(invalid="ignore"):
        body_low, body_high = np.fmin(bars.open, bars.close), np.fmax(bars.open, bars.close)
        return [
            (Flaw.MISALIGNED, opening_times(bars.open_time, timeframe) != bars.open_time),
            (Flaw.HIGH_BELOW_LOW, bars.high < bars.low),
            (Flaw.NOT_POSITIVE, (prices <= 0).any(axis=1)),
            (Flaw.OUTSIDE_RANGE, (body_high > bars.high) | (body_low < bars.low)),
            (Flaw.NEGATIVE_VOLUME, bars.volume < 0),
            (Flaw.NO_PRICE, np.isnan(bars.close)),
            (Flaw.SPIKE, _spikes(bars.close)),
        ]


def _spikes(close: FloatArray) -> BoolArray:
    """Return where a price leaves its neighbours, which agree with each other, and comes back at once."""
    result = np.zeros(len(close), dtype=np.bool_)
    if len(close) < 3:
        return result
    before, here, after = close[:-2], close[1:-1], close[2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        leaves = np.abs(here / before - 1) > SPIKE
        returns = np.abs(here / after - 1) > SPIKE
        agree = np.abs(after / before - 1) < SPIKE / 5
    result[1:-1] = leaves & returns & agree
    return result
