"""Reconciliation: what our books say a bot holds, beside what its venue says, and what follows. Pure.

Orders come first: each that is not final is looked up and its missing fills are booked. What then still differs
between the positions has no explanation in our books, and the bot's policy decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from atf.trading.bot import StartupPositionPolicy
from atf.trading.order import OrderTerms, OrderType, Side
from atf.trading.position import ZERO, Holding, HoldingChange, Position, Trade


class Finding(StrEnum):
    """How a position in the books and the one at the venue go together."""

    MATCHED = "matched"
    UNBOOKED = "unbooked"
    """The venue holds what the books know nothing of."""
    MISSING = "missing"
    """The books hold what the venue does not."""
    SIZE_DIFFERS = "size_differs"
    SIDE_FLIPPED = "side_flipped"


class Action(StrEnum):
    """What is done about a position at a start."""

    KEEP = "keep"
    ADOPT = "adopt"
    FLATTEN = "flatten"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class PositionFinding:
    """One symbol; quantities below zero are short."""

    symbol: str
    booked: Decimal
    at_venue: Decimal
    finding: Finding

    def __str__(self) -> str:
        return f"{self.symbol} {self.finding}: {self.booked} in the books, {self.at_venue} at the venue"


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """What is done about one finding."""

    finding: PositionFinding
    action: Action

    def __str__(self) -> str:
        return f"{self.action}: {self.finding}"


def compare(booked: Mapping[str, Decimal], at_venue: Mapping[str, Decimal]) -> Sequence[PositionFinding]:
    """Return a finding for each symbol that either side holds, in the order of the alphabet."""
    symbols = sorted({symbol for side in (booked, at_venue) for symbol, quantity in side.items() if quantity})
    return [_finding(symbol, booked.get(symbol, ZERO), at_venue.get(symbol, ZERO)) for symbol in symbols]


def _finding(symbol: str, booked: Decimal, at_venue: Decimal) -> PositionFinding:
    if booked == at_venue:
        found = Finding.MATCHED
    elif not booked:
        found = Finding.UNBOOKED
    elif not at_venue:
        found = Finding.MISSING
    elif booked * at_venue < 0:
        found = Finding.SIDE_FLIPPED
    else:
        found = Finding.SIZE_DIFFERS
    return PositionFinding(symbol, booked, at_venue, found)


_IF_MATCHED: Final = {
    StartupPositionPolicy.RESUME: Action.KEEP,
    StartupPositionPolicy.ADOPT: Action.KEEP,
    StartupPositionPolicy.FLATTEN: Action.FLATTEN,
    StartupPositionPolicy.HALT: Action.HALT,
}
_IF_NOT: Final = {
    StartupPositionPolicy.RESUME: Action.HALT,
    StartupPositionPolicy.ADOPT: Action.ADOPT,
    StartupPositionPolicy.FLATTEN: Action.FLATTEN,
    StartupPositionPolicy.HALT: Action.HALT,
}


def plan(findings: Sequence[PositionFinding], policy: StartupPositionPolicy) -> Sequence[PlannedAction]:
    """Return what a start does about each finding. Doing it and comparing again changes nothing."""
    return [PlannedAction(one, _action(one, policy)) for one in findings]


def plan_while_running(findings: Sequence[PositionFinding]) -> Sequence[PlannedAction]:
    """Return what is done while a bot runs: what matches is kept, and what does not stops the bot."""
    return [PlannedAction(one, _action(one, StartupPositionPolicy.RESUME)) for one in findings]


def _action(found: PositionFinding, policy: StartupPositionPolicy) -> Action:
    is_matched = found.finding is Finding.MATCHED
    return (_IF_MATCHED if is_matched else _IF_NOT)[policy]


def adopt(holding: Holding, at_venue: Decimal, price: Decimal, now: datetime) -> HoldingChange:
    """Take the venue's quantity into the books, at a price that nobody paid but that keeps the bot's worth.

    What was held before ends without a gain; the new position begins with a trade of its own.
    """
    symbol, before = holding.position.symbol, holding.position
    closed = None
    if before.is_open and holding.trade is not None:
        closed = Holding(replace(before, quantity=ZERO, cost=ZERO), replace(holding.trade, exit_at=now))
    if not at_venue:
        return HoldingChange(Holding(Position(symbol)), closed)
    size, cost = abs(at_venue), abs(at_venue) * price
    position = Position(symbol, at_venue, cost, opened_at=now, is_adopted=True)
    trade = Trade(symbol, position.direction, now, size, entry_quantity=size, entry_cost=cost)
    return HoldingChange(Holding(position, trade), closed)


def flattening(symbol: str, at_venue: Decimal) -> OrderTerms:
    """Return the market order that makes a position flat."""
    return OrderTerms(symbol, Side.SELL if at_venue > 0 else Side.BUY, OrderType.MARKET, abs(at_venue))
