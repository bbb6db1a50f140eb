"""Trades reckoned by hand, share by share, with nothing of ATF's own arithmetic: what books must have in the end.

A market order of whole shares is filled at the opens of the bars after it, as far as their volume goes, oldest
order first (docs/paper-venue.md). A trade is what is held from flat to flat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, LiteralString, NamedTuple

BOOKED_TRADES: Final[LiteralString] = """
    SELECT bot_id, direction, entry_time, size, entry_price, exit_time,
           CASE status WHEN 'closed' THEN exit_price END, CASE status WHEN 'closed' THEN realized_pnl END,
           round(fees, 8)
    FROM trading_trades ORDER BY id
"""
"""A bot's id and a ``TradeRow`` each."""
_DIGITS: Final = Decimal("1e-8")
_ENOUGH: Final = 10**9

TradeRow = tuple[str, datetime, Decimal, Decimal, datetime | None, Decimal | None, Decimal | None, Decimal]
"""Direction; entry: time, largest size, average price; exit, None while it is open: time, price, gain; fees."""


class DecidedOrder(NamedTuple):
    """A market order; ``decided_at``: the open time of the bar at which it was made, ``sign``: -1 to sell."""

    decided_at: datetime
    sign: int
    size: int


class Opening(NamedTuple):
    """A bar as far as it matters: at its open so many shares are filled at most."""

    at: datetime
    price: Decimal
    shares: int = _ENOUGH


class Share(NamedTuple):
    """One share that was traded."""

    at: datetime
    sign: int
    price: Decimal


@dataclass
class _Trade:
    sign: int
    entry_at: datetime
    size: int = 0
    entries: list[Decimal] = field(default_factory=list)
    exits: list[Decimal] = field(default_factory=list)
    exit_at: datetime | None = None

    def row(self, fee_fraction: Decimal) -> TradeRow:
        paid, got = sum(self.entries, Decimal(0)), sum(self.exits, Decimal(0))
        is_open = self.exit_at is None
        return (
            "LONG" if self.sign > 0 else "SHORT",
            self.entry_at,
            Decimal(self.size),
            _rounded(paid / len(self.entries)),
            self.exit_at,
            None if is_open else _rounded(got / len(self.exits)),
            None if is_open else _rounded((got - paid) * self.sign),
            _rounded((paid + got) * fee_fraction),
        )


def shares_by_hand(orders: Iterable[DecidedOrder], openings: Iterable[Opening]) -> Iterator[Share]:
    """Yield the shares that are traded; both come in the order of time."""
    waiting = deque((order.decided_at, order.sign) for order in orders for _ in range(order.size))
    for opening in openings:
        for _ in range(min(opening.shares, len(waiting))):
            if waiting[0][0] >= opening.at:
                break  # nobody has decided on it yet, nor on those behind it
            yield Share(opening.at, waiting.popleft()[1], opening.price)


def trades_by_hand(shares: Iterable[Share], fee_fraction: Decimal) -> Sequence[TradeRow]:
    """Return the trades that shares make, the fee of each share being a fraction of its price."""
    trades: list[_Trade] = []
    held = 0
    for share in shares:
        if not held:
            trades.append(_Trade(share.sign, share.at))
        trade = trades[-1]
        held += share.sign
        (trade.entries if share.sign == trade.sign else trade.exits).append(share.price)
        trade.size = max(trade.size, abs(held))
        trade.exit_at = None if held else share.at
    return [trade.row(fee_fraction) for trade in trades]


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_DIGITS, ROUND_HALF_UP)
