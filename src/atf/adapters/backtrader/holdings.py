"""What a bot holds, exactly, behind the floating-point positions that Backtrader's strategies look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import backtrader as bt

from atf.adapters.backtrader.order_terms import exact
from atf.trading.bot_messages import HeldPosition

_ZERO = Decimal(0)
_NOISE: Final = 1e-9


class BookedFill(NamedTuple):
    """What a fill did to a position: how much it closed and opened, with the order's sign; what was there."""

    closed: Decimal
    opened: Decimal
    price_before: float


class Holdings:
    """One position a symbol. Sizes are exact: 0.1 and 0.2 bought and 0.3 sold leave nothing."""

    def __init__(self, symbols: Iterable[str], held: Iterable[HeldPosition]) -> None:
        self.positions: Mapping[str, Any] = {symbol: bt.Position() for symbol in symbols}
        self._quantities = dict.fromkeys(self.positions, _ZERO)
        for one in held:
            if one.symbol in self.positions:
                self._quantities[one.symbol] = one.quantity
                self.positions[one.symbol].__init__(float(one.quantity), float(one.price))

    def book(self, symbol: str, quantity: Decimal, price: float, at: datetime) -> BookedFill:
        """Book a fill; ``quantity`` below zero if it was sold."""
        held, position = self._quantities[symbol], self.positions[symbol]
        closed = (
            max(-held, quantity)
            if held > 0 > quantity
            else min(-held, quantity)
            if held < 0 < quantity
            else _ZERO
        )
        opened = quantity - closed
        now = self._quantities[symbol] = held + quantity
        before = position.price
        position.price_orig = before
        position.price = _entry_price(before, held, opened, price, now)
        position.size = float(now)
        position.upclosed, position.upopened = float(closed), float(opened)
        position.datetime = at
        return BookedFill(closed, opened, before)


def _entry_price(before: float, held: Decimal, opened: Decimal, price: float, now: Decimal) -> float:
    if not now:
        return 0.0
    if not opened:
        return before
    if opened == now:  # it was flat, or went through zero
        return price
    return float((exact(before) * held + opened * exact(price)) / now)


class TradeSizes:
    """How large Backtrader takes each trade to be: it adds floats up, and ends a trade at zero alone.

    By symbol and the number that a strategy may give its trades. Kept here, as a trade itself is brought up to
    date only when its strategy is notified.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._sizes = {(symbol, 0): float(one.size) for symbol, one in holdings.positions.items()}

    def book(self, trade: tuple[str, int], fill: BookedFill) -> tuple[float, float]:
        """Return how much of a trade is closed, and opened: exactly all of it, if only noise would be left."""
        before = self._sizes.get(trade, 0.0)
        closed, opened = float(fill.closed), float(fill.opened)
        if closed and abs(before + closed) <= _NOISE * abs(closed):
            closed = -before
        self._sizes[trade] = before + closed + opened
        return closed, opened
