"""A venue for trials: it fills what a bar would have filled, at once and in whole. Pure.

A market order is filled at the next bar's open, a limit or stop as soon as a bar touches its price. Stops do not
trail, nothing expires, and nobody pays fees: a trial shows that a strategy works, not what it earns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from atf.trading.bot_messages import Answer, Candle, OrderRequest, OrderUpdate
from atf.trading.order import OrderStatus, OrderType, Side

_ZERO = Decimal(0)


class MadeUpVenue:
    """The orders, cash and holdings of one bot that trades one symbol."""

    def __init__(self, cash: Decimal) -> None:
        self.cash = cash
        self.held = _ZERO
        self.filled = 0
        self._working: dict[int, OrderRequest] = {}
        self._filled_refs: set[int] = set()

    def take(self, answer: Answer, at: datetime) -> list[OrderUpdate]:
        """Accept orders and cancellations, and return what became of them."""
        updates = []
        for request in answer.orders:
            self._working[request.ref] = request
            updates.append(OrderUpdate(request.ref, OrderStatus.ACCEPTED, _ZERO, None, _ZERO, at))
        for ref in answer.cancels:
            updates += self._cancelled([ref], at)
        return updates

    def fills(self, candle: Candle, at: datetime) -> list[OrderUpdate]:
        """Return what a bar fills, and what is cancelled by that."""
        updates: list[OrderUpdate] = []
        for ref, request in list(self._working.items()):
            if ref not in self._working or request.parent_ref not in {None, *self._filled_refs}:
                continue
            price = _price(request, candle)
            if price is not None:
                updates.append(self._fill(request, Decimal(repr(price)), at))
                updates += self._cancelled(self._tied_to(request), at)
        return updates

    def value(self, close: float) -> Decimal:
        """Return what everything is worth at a close."""
        return self.cash + self.held * Decimal(repr(close))

    def _fill(self, request: OrderRequest, price: Decimal, at: datetime) -> OrderUpdate:
        quantity, sign = request.terms.quantity, request.terms.side.sign
        del self._working[request.ref]
        self._filled_refs.add(request.ref)
        self.filled += 1
        self.held += sign * quantity
        self.cash -= sign * quantity * price
        return OrderUpdate(request.ref, OrderStatus.FILLED, quantity, price, _ZERO, at, quantity, price)

    def _cancelled(self, refs: Sequence[int], at: datetime) -> list[OrderUpdate]:
        """Cancel orders, as far as they are at work, with their children."""
        gone = [ref for ref in refs if self._working.pop(ref, None) is not None]
        updates = [OrderUpdate(ref, OrderStatus.CANCELLED, _ZERO, None, _ZERO, at) for ref in gone]
        children = [ref for ref, one in self._working.items() if one.parent_ref in gone]
        return updates + (self._cancelled(children, at) if children else [])

    def _tied_to(self, filled: OrderRequest) -> list[int]:
        """Return the orders that a fill makes needless: of the same group, or the same parent's."""
        group = {filled.ref, filled.oco_ref} - {None}
        return [
            ref
            for ref, one in self._working.items()
            if group & ({one.ref, one.oco_ref} - {None})
            or (filled.parent_ref is not None and one.parent_ref == filled.parent_ref)
        ]


def _price(request: OrderRequest, candle: Candle) -> float | None:
    """Return at which price a bar fills an order, None if it does not."""
    terms = request.terms
    if terms.type is OrderType.MARKET:
        return candle[0]
    stop = None if terms.stop_price is None else float(terms.stop_price)
    limit = None if terms.limit_price is None else float(terms.limit_price)
    is_buy = terms.side is Side.BUY
    triggered = candle[0] if stop is None else _touched(stop, candle, from_below=is_buy)
    if triggered is None or limit is None:
        return triggered
    found = _touched(limit, candle, from_below=not is_buy)
    return None if found is None else (min(found, limit) if is_buy else max(found, limit))


def _touched(price: float, candle: Candle, *, from_below: bool) -> float | None:
    """Return the open if it is beyond a price, the price if the bar comes to it, else None."""
    opened, high, low = candle[:3]
    if from_below:
        return opened if opened >= price else price if high >= price else None
    return opened if opened <= price else price if low <= price else None


def made_up_bars(count: int) -> Iterator[Candle]:
    """Yield bars that rise, fall and stand still, the same ones each time."""
    price, noise = 100.0, 12345
    for number in range(count):
        noise = (1103515245 * noise + 12345) % 2**31
        drift = (0.004, -0.004, 0.0, -0.008, 0.008)[number // 40 % 5]
        close = price * (1 + drift + (noise / 2**31 - 0.5) * 0.02)
        high, low = max(price, close) * 1.002, min(price, close) * 0.998
        yield (price, high, low, close, 1000.0 + noise % 1000)
        price = close
