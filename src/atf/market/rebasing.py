"""Another base of prices, as after a split: how it shows, and how bars follow that cannot be fetched anew. Pure.

A provider that adjusts for splits multiplies all prices of the past when one happens. Bars that are stored do not
follow by themselves, and going on from them would put a jump into the series that no market made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from atf.market.bars import Bars, FloatArray

_PRICES: Final = ("open", "high", "low", "close")
_SAME_RATIO: Final = 1e-4
_REBASED: Final = 0.005
_FAR: Final = 0.05
"""Prices move so far from one bar to the next now and then, so that whoever sees it asks once more."""
_MEASURED: Final = 50
"""A factor is measured over so many bars, as each price is rounded and a first bar may be a part of one."""


def is_rebased(held: Bars, fetched: Bars) -> bool:
    """Whether the newest held bar differs in all its prices by one factor from the same bar as it was fetched."""
    if not len(held) or not len(fetched):
        return False
    at = int(np.searchsorted(fetched.open_time, held.open_time[-1]))
    if at == len(fetched) or fetched.open_time[at] != held.open_time[-1]:
        return False
    ratios = np.array([fetched.column(name)[at] / held.column(name)[-1] for name in _PRICES])
    return bool(np.ptp(ratios) < _SAME_RATIO * abs(ratios[0]) and abs(ratios[0] - 1) > _REBASED)


def is_far(closed: Bars, following: Bars) -> bool:
    """Whether a bar opens so far from the close before it that another base may be the reason."""
    if not len(closed) or not len(following):
        return False
    # A missing price is far off, and so is what follows a price of zero.
    return not abs(following.open[0] - closed.close[-1]) < _FAR * closed.close[-1]


@dataclass(frozen=True, slots=True)
class Rebased:
    """What is to be stored after a history was fetched anew.

    ``bars``: all from the first fetched one on; ``older_factor``: what prices of those before it are multiplied
    with, and their volumes divided by; 1 if they are on the same base.
    """

    bars: Bars
    older_factor: float


def rebased(stored: Bars, fetched: Bars) -> Rebased:
    """Bring stored bars to the base of those that were fetched anew.

    Measured by what is stored where the two meet, so that it is done once, whoever else has done it meanwhile:
    for those before all fetched ones by the first that both have, for those between them by the ones beside.

    Shape: ``stored``: all that are stored between the first and the last fetched one, these included.
    """
    common, of_stored, of_fetched = np.intersect1d(
        stored.open_time, fetched.open_time, assume_unique=True, return_indices=True
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = _where_it_matters(fetched.close[of_fetched] / stored.close[of_stored])
    if not len(common):
        return Rebased(fetched.joined_with(stored), 1.0)
    older = float(_where_it_matters(np.array([np.median(factors[:_MEASURED])]))[0])
    others = stored.where(~np.isin(stored.open_time, common))
    beside = np.maximum(np.searchsorted(common, others.open_time) - 1, 0)
    return Rebased(fetched.joined_with(multiplied(others, factors[beside])), older)


def multiplied(bars: Bars, factors: FloatArray | float) -> Bars:
    """Return bars with prices multiplied and volumes divided, as by a split."""
    prices = [bars.column(name) * factors for name in _PRICES]
    return Bars.from_columns(bars.open_time, np.column_stack([*prices, bars.volume / factors]))


def _where_it_matters(factors: FloatArray) -> FloatArray:
    """Return 1 for factors that are no other base, or none at all."""
    matters = np.isfinite(factors) & (factors > 0) & (np.abs(factors - 1) > _REBASED)
    found: FloatArray = np.where(matters, factors, 1.0)
    return found
