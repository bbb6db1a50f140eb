"""Follow the trend: long while a fast average is above a slow one."""

from __future__ import annotations

from typing import Any, Final

import backtrader as bt


class SmaCross(bt.Strategy):  # type: ignore[misc]
    """Buy when the fast moving average crosses above the slow one, sell all when it crosses below.

    Params:
        fast, slow: lengths of both averages, in bars.
        fraction: how much of the account's value is put into a position.
        stake: how much is bought, in shares or the base currency; with a stake ``fraction`` does not count.
    """

    params: Final = (("fast", 10), ("slow", 30), ("fraction", 0.95), ("stake", None))

    def __init__(self) -> None:
        if not 0 < self.p.fast < self.p.slow:
            raise ValueError(f"fast must be shorter than slow, got {self.p.fast} and {self.p.slow}")
        fast, slow = (bt.indicators.SMA(self.data.close, period=length) for length in (self.p.fast, self.p.slow))
        self.cross = bt.indicators.CrossOver(fast, slow)
        self.order: Any = None

    def next(self) -> None:
        """Act on a cross, one order at a time."""
        if self.order is not None:
            return
        if self.cross[0] > 0 and not self.position:
            self.order = self._enter()
        elif self.cross[0] < 0 and self.position:
            self.order = self.close()

    def _enter(self) -> Any:
        if self.p.stake is not None:
            return self.buy(size=self.p.stake)
        return self.order_target_percent(target=self.p.fraction)

    def notify_order(self, order: Any) -> None:
        """Forget the order when nothing more becomes of it."""
        if self.order is not None and order.ref == self.order.ref and not order.alive():
            self.order = None

    def save_state(self) -> dict[str, Any]:
        """Keep which order is at work."""
        return {"order": None if self.order is None else self.order.ref}

    def load_state(self, state: dict[str, Any]) -> None:
        """Find the order that was at work, if it still is."""
        self.order = next((one for one in self.broker.get_orders_open() if one.ref == state.get("order")), None)
