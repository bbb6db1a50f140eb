"""At which price one order is filled by one bar. Pure.

What can be known of a bar is its opening, and how far it went; of what is not known the worst for the trader is
assumed. docs/paper-venue.md has the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from atf.trading.order import OrderType, Side
from atf.trading.paper.account import PaperOrder
from atf.trading.paper.amounts import EXACT, round_price
from atf.trading.paper.bar import PaperBar


@dataclass(frozen=True, slots=True)
class Execution:
    """An order, triggered or not, and the price that fills it now; None: nothing does.

    ``slips``: the price is not promised, so that slippage is added.
    """

    order: PaperOrder
    price: Decimal | None = None
    slips: bool = False


def at_open(order: PaperOrder, bar: PaperBar) -> Execution:
    """Return what the opening makes of an order."""
    if is_waiting_stop(order):
        if not _is_reached(order, bar.open):
            return Execution(order)
        order = replace(order, is_triggered=True)
    if order.working_type is OrderType.MARKET:
        return Execution(order, bar.open, slips=True)
    return Execution(order, bar.open if _is_good(order, bar.open) else None)


def within(order: PaperOrder, bar: PaperBar) -> Execution:
    """Return what a bar makes of an order after its opening."""
    if is_waiting_stop(order):
        return _triggered_within(order, bar)
    if order.working_type is OrderType.LIMIT and _is_good(order, _favourable(order, bar)):
        return Execution(order, order.limit)
    return Execution(order)


def is_waiting_stop(order: PaperOrder) -> bool:
    """Tell whether an order still waits for its trigger."""
    return order.trigger is not None and not order.is_triggered


def followed(order: PaperOrder, bar: PaperBar, price_step: Decimal) -> PaperOrder:
    """Return a trailing order after a bar that has not triggered it: the trigger follows, never back.

    A trigger is rounded away from the price. A limit keeps its distance to the trigger.
    """
    if order.trigger is None or order.is_triggered:
        return order
    extreme, trail = _favourable(order, bar), _trail(order, bar)
    if trail is None:
        return order
    is_buy = order.terms.side is Side.BUY
    wanted = round_price(extreme + trail if is_buy else extreme - trail, price_step, up=is_buy)
    trigger = min(order.trigger, wanted) if is_buy else max(order.trigger, wanted)
    if trigger == order.trigger:
        return order
    limit = None if order.limit is None else order.limit + (trigger - order.trigger)
    return replace(order, trigger=trigger, limit=limit)


def slipped(price: Decimal, side: Side, fraction: Decimal, price_step: Decimal) -> Decimal:
    """Return a price that is worse by a fraction, rounded against the trader."""
    if not fraction:
        return price
    moved = EXACT.multiply(price, 1 + side.sign * fraction)
    return round_price(moved, price_step, up=side is Side.BUY)


def _triggered_within(order: PaperOrder, bar: PaperBar) -> Execution:
    """Return what becomes of a stop that the opening has not reached.

    A stop limit is filled at its trigger if that is good enough. Else the price must come back to the limit
    after the trigger, which only the close can prove.
    """
    if order.trigger is None or not _is_reached(order, _adverse(order, bar)):
        return Execution(order)
    trigger, order = order.trigger, replace(order, is_triggered=True)
    if order.working_type is OrderType.MARKET:
        return Execution(order, trigger, slips=True)
    if _is_good(order, trigger):
        return Execution(order, trigger)
    return Execution(order, order.limit if _is_good(order, bar.close) else None)


def _is_reached(order: PaperOrder, price: Decimal) -> bool:
    """Tell whether a price is at the trigger or beyond it."""
    if order.trigger is None:
        return False
    return price >= order.trigger if order.terms.side is Side.BUY else price <= order.trigger


def _is_good(order: PaperOrder, price: Decimal) -> bool:
    """Tell whether a price is at the limit or better: touching is enough."""
    if order.limit is None:
        return False
    return price <= order.limit if order.terms.side is Side.BUY else price >= order.limit


def _favourable(order: PaperOrder, bar: PaperBar) -> Decimal:
    """The extreme that is good for a limit, and that a trailing trigger follows: the low for what buys."""
    return bar.low if order.terms.side is Side.BUY else bar.high


def _adverse(order: PaperOrder, bar: PaperBar) -> Decimal:
    return bar.high if order.terms.side is Side.BUY else bar.low


def _trail(order: PaperOrder, bar: PaperBar) -> Decimal | None:
    terms = order.terms
    if terms.trail_amount is not None:
        return terms.trail_amount
    if terms.trail_fraction is not None:
        return EXACT.multiply(_favourable(order, bar), terms.trail_fraction)
    return None
