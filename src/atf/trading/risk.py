"""Risk: what is asked of every order before it is written down. Pure.

It rounds an order to what the venue trades, never to more, and refuses with a sentence what must not go out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Final

from atf.trading.bot import TradingState
from atf.trading.broker import Instrument
from atf.trading.order import OrderTerms, OrderType, Side

_ZERO: Final = Decimal(0)
LACKS_CAPITAL: Final = "not enough capital"
"""How a refusal begins that more money would have spared."""
_PRICES: Final = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("limit_price",),
    OrderType.STOP: ("stop_price",),
    OrderType.STOP_LIMIT: ("stop_price", "limit_price"),
    OrderType.TRAILING_STOP: ("stop_price",),
    OrderType.TRAILING_STOP_LIMIT: ("stop_price", "limit_price"),
}
_TRAILING: Final = frozenset({OrderType.TRAILING_STOP, OrderType.TRAILING_STOP_LIMIT})


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What a bot may do at most; None: no limit of this kind.

    Units: values in the quote currency; ``price_collar_fraction``: how far a price may be from the last one;
           ``max_drawdown_fraction`` of the highest equity so far.
    """

    max_order_value: Decimal | None = None
    max_position_value: Decimal | None = None
    max_orders_per_bar: int = 20
    max_open_orders: int = 50
    price_collar_fraction: Decimal | None = None
    max_drawdown_fraction: Decimal | None = None
    may_short: bool = True


@dataclass(frozen=True, slots=True)
class RiskView:
    """What the books say when an order is asked for.

    ``position``: of the order's symbol, below zero if short. ``pending_buys``, ``pending_sells``: what open
    orders of the symbol may still trade. ``reserved``: the value of all open buys. ``awaited``: an order of the
    symbol whose outcome nobody knows. ``orders_at_bar``: of this bar so far.
    """

    trading_state: TradingState
    instrument: Instrument
    position: Decimal
    last_price: Decimal
    cash: Decimal
    equity: Decimal
    highest_equity: Decimal
    pending_buys: Decimal = _ZERO
    pending_sells: Decimal = _ZERO
    reserved: Decimal = _ZERO
    open_orders: int = 0
    orders_at_bar: int = 0
    awaited: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order does not go out, as one sentence."""

    reason: str


def check(terms: OrderTerms, view: RiskView, limits: RiskLimits) -> OrderTerms | Refusal:
    """Return the order as it may go out, rounded to the venue's steps, or why it may not."""
    problem = _malformed(terms) or _forbidden_now(view, limits)
    if problem:
        return Refusal(problem)
    rounded = _rounded(terms, view.instrument)
    problem = _too_small(rounded, view) or _against_state(rounded, view) or _beyond_limits(rounded, view, limits)
    return Refusal(problem) if problem else rounded


def _malformed(terms: OrderTerms) -> str | None:
    if not (terms.quantity.is_finite() and terms.quantity > 0):
        return f"quantity: must be above 0, got {terms.quantity}"
    for name in _PRICES[terms.type]:
        price: Decimal | None = getattr(terms, name)
        if price is None or not (price.is_finite() and price > 0):
            return f"{name}: a {terms.type} order needs one above 0, got {price}"
    if terms.type in _TRAILING and not (terms.trail_amount or terms.trail_fraction):
        return f"trail_amount: a {terms.type} order needs it, or trail_fraction"
    return None


def _forbidden_now(view: RiskView, limits: RiskLimits) -> str | None:
    if view.trading_state is TradingState.HALTED:
        return "the bot is halted"
    if view.awaited is not None:
        return f"what became of order {view.awaited} is not known yet, and the symbol waits for it"
    if view.orders_at_bar >= limits.max_orders_per_bar:
        return f"a bar has {limits.max_orders_per_bar} orders at most (risk.max_orders_per_bar)"
    if view.open_orders >= limits.max_open_orders:
        return f"{limits.max_open_orders} orders may be open at most (risk.max_open_orders)"
    return None


def _rounded(terms: OrderTerms, instrument: Instrument) -> OrderTerms:
    def price(given: Decimal | None) -> Decimal | None:
        return None if given is None else _to_step(given, instrument.price_step, ROUND_HALF_EVEN)

    return replace(
        terms,
        quantity=_to_step(terms.quantity, instrument.quantity_step, ROUND_DOWN),
        limit_price=price(terms.limit_price),
        stop_price=price(terms.stop_price),
        trail_amount=price(terms.trail_amount),
    )


def _to_step(amount: Decimal, step: Decimal, rounding: str) -> Decimal:
    return (amount / step).to_integral_value(rounding) * step if step else amount


def _too_small(terms: OrderTerms, view: RiskView) -> str | None:
    rules, value = view.instrument, terms.quantity * _price_of(terms, view)
    if terms.quantity <= 0 or terms.quantity < rules.minimum_quantity:
        least = max(rules.minimum_quantity, rules.quantity_step)
        return f"quantity: {terms.symbol} trades {least} at least, got {terms.quantity}"
    if value < rules.minimum_value:
        return f"quantity: an order for {terms.symbol} is worth {rules.minimum_value} at least, got {value}"
    return None


def _against_state(terms: OrderTerms, view: RiskView) -> str | None:
    """A bot that is being reduced, or has lost too much, may only go towards flat."""
    if view.trading_state is TradingState.REDUCING and not _is_reducing(terms, view):
        return "the bot is paused and may only close what it holds"
    return None


def _is_reducing(terms: OrderTerms, view: RiskView) -> bool:
    held = view.position
    if held * terms.side.sign >= 0:
        return False
    pending = view.pending_sells if terms.side is Side.SELL else view.pending_buys
    # Orders of a bracket or an OCO group are alternatives: each may be as large as the position.
    return terms.quantity <= abs(held) or terms.quantity + pending <= abs(held)


def _beyond_limits(terms: OrderTerms, view: RiskView, limits: RiskLimits) -> str | None:
    price = _price_of(terms, view)
    value, after = terms.quantity * price, view.position + terms.side.sign * terms.quantity
    if _is_reducing(terms, view):
        return None  # no limit may keep a bot in a position
    if view.highest_equity > 0 and limits.max_drawdown_fraction is not None:
        lost = (view.highest_equity - view.equity) / view.highest_equity
        if lost >= limits.max_drawdown_fraction:
            return f"the bot has lost {lost:.1%} of its highest equity (risk.max_drawdown_fraction)"
    if after < 0 and not limits.may_short:
        return f"this would sell {-after} more than the bot holds (risk.may_short)"
    if limits.max_order_value is not None and value > limits.max_order_value:
        return f"an order may be worth {limits.max_order_value} (risk.max_order_value), got {value}"
    if limits.max_position_value is not None and abs(after) * price > limits.max_position_value:
        return f"a position may be worth {limits.max_position_value} (risk.max_position_value)"
    if limits.price_collar_fraction is not None and terms.type is not OrderType.MARKET:
        distance = abs(price - view.last_price) / view.last_price
        if distance > limits.price_collar_fraction:
            return f"the price is {distance:.1%} off the last one (risk.price_collar_fraction)"
    return _beyond_capital(terms, view, value)


def _beyond_capital(terms: OrderTerms, view: RiskView, value: Decimal) -> str | None:
    """No leverage: what is bought is paid for, and what is short is worth no more than the bot."""
    if terms.side is Side.BUY and value > view.cash - view.reserved:
        return f"{LACKS_CAPITAL}: the order costs {value}, and {view.cash - view.reserved} is free"
    if terms.side is Side.SELL and (terms.quantity - view.position) * view.last_price > view.equity:
        return f"{LACKS_CAPITAL}: a short position may be worth the bot's equity at most"
    return None


def _price_of(terms: OrderTerms, view: RiskView) -> Decimal:
    return terms.limit_price or terms.stop_price or view.last_price
