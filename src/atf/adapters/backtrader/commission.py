"""What trading is expected to cost, for strategies that size their orders by it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import backtrader as bt


class Fees(bt.CommInfoBase):  # type: ignore[misc]
    """A fraction of each order's value, and sizes that need not be whole: the service rounds them."""

    def getsize(self, price: float, cash: float) -> float:
        """Return how much can be had for an amount of cash."""
        return float(self.p.leverage * (cash / price))


def fees_of(fraction: Decimal) -> Any:
    """Return the forecast for a fee that is a fraction of an order's value."""
    return Fees(commission=float(fraction), percabs=True, commtype=bt.CommInfoBase.COMM_PERC, stocklike=True)
