"""Splits and dividends: factors that make the prices of a stock comparable over time. Pure.

Factors are those of the bars that they are for: raw ones need splits and dividends, bars of a provider that
adjusts for splits need ``dividends_after_splits`` alone. An adjusted price is raw * price_factor *
split_factor, the volume raw / split_factor, by the first row of the factors whose date is the bar's or later;
bars after the last row stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import isfinite

import numpy as np

from atf.errors import InvalidInput
from atf.market.bars import Bars, FloatArray, TimeArray, to_nanoseconds

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """What a company did to its shares before trading began on a day.

    Units: ``split_ratio`` new shares for one old (2.0: two for one); ``cash_dividend`` in the currency of the
           raw prices, for one share as it was before the split of the same day.
    """

    ex_date: date
    split_ratio: float = 1.0
    cash_dividend: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.split_ratio) and self.split_ratio > 0):
            raise InvalidInput(f"must be above 0, got {self.split_ratio}", field="split_ratio")
        if not (isfinite(self.cash_dividend) and self.cash_dividend >= 0):
            raise InvalidInput(f"must be 0 or above, got {self.cash_dividend}", field="cash_dividend")


@dataclass(frozen=True, slots=True, order=True)
class AdjustmentFactor:
    """What raw prices up to and including a date are multiplied with."""

    until_date: date
    price_factor: float
    split_factor: float

    def __post_init__(self) -> None:
        for name, value in (("price_factor", self.price_factor), ("split_factor", self.split_factor)):
            if not (isfinite(value) and value > 0):
                raise InvalidInput(f"must be above 0, got {value}", field=name)


def factors_from(actions: Sequence[CorporateAction], bars: Bars) -> tuple[AdjustmentFactor, ...]:
    """Return the factors that actions lead to, oldest first; a dividend is measured by the close before it.

    A dividend before which no close is known counts for nothing, as nothing is there to be adjusted.

    Errors: InvalidInput if a dividend is not below the close before it.
    """
    price, split = 1.0, 1.0
    factors: list[AdjustmentFactor] = []
    for action in sorted(actions, key=lambda action: action.ex_date, reverse=True):
        price *= _dividend_factor(action, bars)
        split /= action.split_ratio
        factor = AdjustmentFactor(action.ex_date - _ONE_DAY, price, split)
        if factors and factors[-1].until_date == factor.until_date:
            factors.pop()
        factors.append(factor)
    return tuple(reversed(factors))


def dividends_after_splits(actions: Sequence[CorporateAction]) -> tuple[CorporateAction, ...]:
    """Return the dividends alone, oldest first, as they are for bars whose prices are adjusted for all splits.

    ``actions`` must reach up to today: a later split makes an earlier dividend smaller, as it did the prices.
    """
    ratio = 1.0
    dividends: list[CorporateAction] = []
    for action in sorted(actions, key=lambda action: action.ex_date, reverse=True):
        ratio *= action.split_ratio
        if action.cash_dividend:
            dividends.append(CorporateAction(action.ex_date, 1.0, action.cash_dividend / ratio))
    return tuple(reversed(dividends))


def adjusted(bars: Bars, factors: Sequence[AdjustmentFactor], *, dividends: bool = True) -> Bars:
    """Return bars with adjusted prices and volumes; without ``dividends`` for splits alone.

    Time: a bar belongs to the UTC date of its open time.
    """
    if not factors or not len(bars):
        return bars
    rows = sorted(factors)
    row_of_bar = np.searchsorted(_ends(rows), bars.open_time, side="right")
    split = np.array([*(row.split_factor for row in rows), 1.0])[row_of_bar]
    price = np.array([*(row.price_factor if dividends else 1.0 for row in rows), 1.0])[row_of_bar] * split
    columns = [bars.open * price, bars.high * price, bars.low * price, bars.close * price, bars.volume / split]
    return Bars.from_columns(bars.open_time, np.column_stack(columns))


def split_days(factors: Sequence[AdjustmentFactor]) -> tuple[date, ...]:
    """Return the days from which on the split factor is another one, oldest first."""
    rows = sorted(factors)
    following = [*(row.split_factor for row in rows[1:]), 1.0]
    changes = zip(rows, following, strict=True) if rows else ()
    return tuple(row.until_date + _ONE_DAY for row, after in changes if row.split_factor != after)


def _dividend_factor(action: CorporateAction, bars: Bars) -> float:
    if action.cash_dividend == 0:
        return 1.0
    known = _known_closes(bars.before(datetime.combine(action.ex_date, time(), UTC)))
    if not len(known):
        return 1.0
    close = float(known[-1])
    if action.cash_dividend >= close:
        what = f"{action.cash_dividend} on {action.ex_date} is not below the close before it, {close}"
        raise InvalidInput(what, field="cash_dividend")
    return 1.0 - action.cash_dividend / close


def _known_closes(bars: Bars) -> FloatArray:
    known: FloatArray = bars.close[np.isfinite(bars.close)]
    return known


def _ends(rows: Sequence[AdjustmentFactor]) -> TimeArray:
    """Return for each row the first instant for which it does not hold any more."""
    ends = [datetime.combine(row.until_date + _ONE_DAY, time(), UTC) for row in rows]
    return np.array([to_nanoseconds(end) for end in ends], dtype=np.int64)
