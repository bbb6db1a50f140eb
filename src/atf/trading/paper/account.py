"""An account at a paper venue: its rules, what it holds, what rests in its book. Pure values.

How orders are filled is told in docs/paper-venue.md; ``matching.py`` does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from atf.trading.broker import Instrument, VenueOrder
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder, OrderStatus, OrderTerms, OrderType

ZERO: Final = Decimal(0)
_TRIGGERED: Final = {
    OrderType.STOP: OrderType.MARKET,
    OrderType.TRAILING_STOP: OrderType.MARKET,
    OrderType.STOP_LIMIT: OrderType.LIMIT,
    OrderType.TRAILING_STOP_LIMIT: OrderType.LIMIT,
}


@dataclass(frozen=True, slots=True)
class FillModel:
    """What trading costs.

    ``fee_fraction`` of each fill's value; ``slippage_fraction`` of the price, against market orders and stops;
    ``latency``: how long an accepted order is on its way; ``partial_fill_fraction`` of a bar's volume that an
    account gets at most, None: all of what it asks for.
    """

    fee_fraction: Decimal = ZERO
    slippage_fraction: Decimal = ZERO
    latency: timedelta = timedelta(0)
    partial_fill_fraction: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AccountRules:
    """What an account may do, and how its orders are filled; the steps and minima are those of ``Instrument``."""

    model: FillModel = field(default_factory=FillModel)
    allow_short: bool = False
    quantity_step: Decimal = ZERO
    price_step: Decimal = ZERO
    minimum_quantity: Decimal = ZERO
    minimum_value: Decimal = ZERO

    def instrument(self, symbol: str) -> Instrument:
        """Return the rules of a symbol, which are the same for all."""
        return Instrument(symbol, self.quantity_step, self.price_step, self.minimum_quantity, self.minimum_value)


@dataclass(frozen=True, slots=True)
class PaperOrder:
    """An order as the venue has it.

    ``number``: in which order the venue accepted them. ``trigger``, ``limit``: where they are now, as those of
    trailing orders move. ``fill_count``: how many fills it has, which names the next one.
    Time: ``active_from``: nothing that opened earlier fills it.
    """

    number: int
    new: NewOrder
    status: OrderStatus
    accepted_at: datetime
    active_from: datetime
    is_asleep: bool = False
    is_triggered: bool = False
    trigger: Decimal | None = None
    limit: Decimal | None = None
    filled_quantity: Decimal = ZERO
    fill_count: int = 0
    reason: str | None = None

    @property
    def client_order_id(self) -> ClientOrderId:
        """Its name."""
        return self.new.client_order_id

    @property
    def terms(self) -> OrderTerms:
        """What was asked for."""
        return self.new.terms

    @property
    def remaining_quantity(self) -> Decimal:
        """How much is not filled."""
        return self.terms.quantity - self.filled_quantity

    @property
    def working_type(self) -> OrderType:
        """What it acts as now: a stop that was triggered is a market order, a stop limit a limit order."""
        return _TRIGGERED.get(self.terms.type, self.terms.type) if self.is_triggered else self.terms.type

    @property
    def next_fill_id(self) -> str:
        """How its next fill is called: the same in every repetition of its bar, so that no fill exists twice."""
        return f"{self.client_order_id}.{self.fill_count + 1}"

    def as_told(self, venue_order_id: str) -> VenueOrder:
        """Return it in the words of the order path."""
        return VenueOrder(
            self.client_order_id,
            venue_order_id,
            self.terms.symbol,
            self.status,
            self.filled_quantity,
            self.reason,
        )


@dataclass(frozen=True, slots=True)
class PaperBook:
    """What an account has: cash, signed positions without those of zero, and orders that are not over, by age."""

    cash: Decimal
    positions: Mapping[str, Decimal] = field(default_factory=dict)
    orders: tuple[PaperOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class PaperAccount:
    """An account; its name is unique at its venue."""

    name: str
    rules: AccountRules
    book: PaperBook


@dataclass(frozen=True, slots=True)
class BookChanges:
    """What came of something: the book after it, new fills, and orders that are another than before."""

    after: PaperBook
    fills: tuple[Fill, ...] = ()
    orders: tuple[PaperOrder, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has changed."""
        return not self.orders
