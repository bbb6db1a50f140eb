"""Positions and trades: what fills make of them, exactly. Pure.

A position is what is held of one symbol; a trade is its life from flat to flat. A fill that takes a position
through zero closes one trade and opens the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from atf.errors import InvariantViolation
from atf.trading.fill import Fill

ZERO: Final = Decimal(0)


class Direction(StrEnum):
    """Which way a position goes."""

    LONG = "LONG"
    SHORT = "SHORT"


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of a symbol, and what came of it since it was opened.

    Units: ``quantity`` below zero if short; ``cost`` what the open quantity was bought for (short: sold for),
           never below zero; ``realized_pnl`` of what is closed, without ``fees``; all of the quote currency.
    """

    symbol: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    opened_at: datetime | None = None
    is_adopted: bool = False
    """It was found at the venue: nobody saw its entry."""

    @property
    def is_open(self) -> bool:
        """Whether anything is held."""
        return self.quantity != 0

    @property
    def direction(self) -> Direction:
        """Which way it goes; LONG if it is flat."""
        return Direction.SHORT if self.quantity < 0 else Direction.LONG

    @property
    def average_price(self) -> Decimal | None:
        """At which price the open quantity was entered on average; None if it is flat."""
        return self.cost / abs(self.quantity) if self.quantity else None

    def unrealized_pnl(self, price: Decimal) -> Decimal:
        """Return what closing all of it at a price would bring, without fees."""
        return self.quantity * price - self.cost * (1 if self.quantity > 0 else -1) if self.quantity else ZERO


@dataclass(frozen=True, slots=True)
class Trade:
    """A position's life from flat to flat.

    Units: ``size`` the largest quantity so far that was held, ``entry_cost``, ``exit_cost`` and their quantities
           of all that entered and left; ``realized_pnl`` without ``fees``.
    """

    symbol: str
    direction: Direction
    entry_at: datetime
    size: Decimal = ZERO
    entry_quantity: Decimal = ZERO
    entry_cost: Decimal = ZERO
    exit_quantity: Decimal = ZERO
    exit_cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    exit_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether some of it is still held."""
        return self.exit_at is None

    @property
    def entry_price(self) -> Decimal:
        """The average of what entered."""
        return self.entry_cost / self.entry_quantity

    @property
    def exit_price(self) -> Decimal | None:
        """The average of what left; None if nothing has."""
        return self.exit_cost / self.exit_quantity if self.exit_quantity else None


@dataclass(frozen=True, slots=True)
class Holding:
    """A position with the trade that it belongs to; None while it is flat."""

    position: Position
    trade: Trade | None = None


@dataclass(frozen=True, slots=True)
class HoldingChange:
    """What a fill made of a holding; ``closed``: what it ended, flat now and with a trade, if it did."""

    after: Holding
    closed: Holding | None = None


def apply(holding: Holding, fill: Fill) -> HoldingChange:
    """Book a fill.

    Its fee is shared between what it closes and what it opens, by quantity. The cost of what is closed is its
    share of the open cost, and all of it at the end, so that no remainder stays.
    """
    signed = fill.side.sign * fill.quantity
    held = holding.position.quantity
    closing = min(fill.quantity, abs(held)) if held * signed < 0 else ZERO
    opening = fill.quantity - closing
    if not closing:
        return HoldingChange(_enter(holding, fill, opening, fill.fee))
    closing_fee = fill.fee * closing / fill.quantity if opening else fill.fee
    left = _leave(holding, fill, closing, closing_fee)
    if left.position.is_open:
        return HoldingChange(left)
    flat = Holding(Position(holding.position.symbol))
    after = _enter(flat, fill, opening, fill.fee - closing_fee) if opening else flat
    return HoldingChange(after, closed=left)


def _enter(holding: Holding, fill: Fill, quantity: Decimal, fee: Decimal) -> Holding:
    cost, before = quantity * fill.price, holding.position
    position = replace(
        before,
        quantity=before.quantity + fill.side.sign * quantity,
        cost=before.cost + cost,
        fees=before.fees + fee,
        opened_at=before.opened_at or fill.filled_at,
    )
    trade = holding.trade or Trade(before.symbol, position.direction, fill.filled_at)
    trade = replace(
        trade,
        size=max(trade.size, abs(position.quantity)),
        entry_quantity=trade.entry_quantity + quantity,
        entry_cost=trade.entry_cost + cost,
        fees=trade.fees + fee,
    )
    return Holding(position, trade)


def _leave(holding: Holding, fill: Fill, quantity: Decimal, fee: Decimal) -> Holding:
    before, proceeds = holding.position, quantity * fill.price
    is_all = quantity == abs(before.quantity)
    cost = before.cost if is_all else before.cost * quantity / abs(before.quantity)
    gained = (proceeds - cost) * (1 if before.quantity > 0 else -1)
    position = replace(
        before,
        quantity=before.quantity + fill.side.sign * quantity,
        cost=before.cost - cost,
        realized_pnl=before.realized_pnl + gained,
        fees=before.fees + fee,
    )
    trade = holding.trade
    if trade is None:
        raise InvariantViolation(f"{before.symbol} is held, and no open trade says since when")
    trade = replace(
        trade,
        exit_quantity=trade.exit_quantity + quantity,
        exit_cost=trade.exit_cost + proceeds,
        realized_pnl=trade.realized_pnl + gained,
        fees=trade.fees + fee,
        exit_at=fill.filled_at if is_all else None,
    )
    return Holding(position, trade)
