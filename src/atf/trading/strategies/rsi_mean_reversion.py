"""Bet on a return to the middle: buy what has fallen too fast, sell it when it has risen again."""

from __future__ import annotations

from typing import Any, Final

import backtrader as bt


class RsiMeanReversion(bt.Strategy):  # type: ignore[misc]
    """Buy when the relative strength index falls below ``lower``, sell all when it rises above ``upper``.

    Params:
        period: length of the index, in bars.
        lower, upper: where the price counts as oversold and as overbought, from 0 to 100.
        fraction: how much of the account's value is put into a position.
        stake: how much is bought, in shares or the base currency; with a stake ``fraction`` does not count.
        stop_loss: sell all as soon as a bar closes so far below the entry, as a fraction of it; None for never.
    """

    params: Final = (
        ("period", 14),
        ("lower", 30.0),
        ("upper", 70.0),
        ("fraction", 0.95),
        ("stake", None),
        ("stop_loss", None),
    )

    def __init__(self) -> None:
        if not 0 <= self.p.lower < self.p.upper <= 100:
            raise ValueError(f"0 <= lower < upper <= 100 must hold, got {self.p.lower} and {self.p.upper}")
        self.rsi = bt.indicators.RSI_Safe(self.data.close, period=self.p.period)
        self.order: Any = None

    def next(self) -> None:
        """Act on the index, one order at a time."""
        if self.order is not None:
            return
        if not self.position:
            if self.rsi[0] < self.p.lower:
                self.order = self._enter()
        elif self.rsi[0] > self.p.upper or self._has_lost():
            self.order = self.close()

    def _enter(self) -> Any:
        if self.p.stake is not None:
            return self.buy(size=self.p.stake)
        return self.order_target_percent(target=self.p.fraction)

    def _has_lost(self) -> bool:
        if self.p.stop_loss is None:
            return False
        return bool(self.data.close[0] < self.position.price * (1 - self.p.stop_loss))

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
