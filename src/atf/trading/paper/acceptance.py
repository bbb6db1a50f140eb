"""Whether a venue takes an order: its terms, its steps, and the orders that it depends on. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from atf.trading.order import ClientOrderId, NewOrder, OrderStatus, OrderTerms, OrderType
from atf.trading.paper.account import AccountRules, PaperOrder
from atf.trading.paper.amounts import LARGEST, SMALLEST, is_multiple, plain

_WITH_LIMIT: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP_LIMIT})
_TRAILING: Final = frozenset({OrderType.TRAILING_STOP, OrderType.TRAILING_STOP_LIMIT})
_LONGEST: Final = 200
_WITH_STOP: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT}) | _TRAILING


def accept(
    new: NewOrder,
    rules: AccountRules,
    known: Mapping[ClientOrderId, PaperOrder],
    number: int,
    at: datetime,
) -> PaperOrder:
    """Return an order as the venue takes it, or as REJECTED with a sentence that says why.

    ``known``: of the account at least its parent and the members of its group, whatever became of them. Whether
    the name is known already is the caller's to look up.
    """
    refusal = _refusal(new, rules, known)
    parent = known.get(new.parent) if new.parent is not None else None
    return PaperOrder(
        number,
        new,
        OrderStatus.REJECTED if refusal else OrderStatus.ACCEPTED,
        accepted_at=at,
        active_from=at + rules.model.latency,
        is_asleep=parent is not None and parent.status is not OrderStatus.FILLED,
        trigger=new.terms.stop_price,
        limit=new.terms.limit_price,
        reason=refusal,
    )


def malformed(new: NewOrder) -> str | None:
    """Say what of an order no venue could even write down; None if it can be."""
    return next((problem for check in (_about_names(new), _about_terms(new.terms)) for problem in check), None)


def _refusal(new: NewOrder, rules: AccountRules, known: Mapping[ClientOrderId, PaperOrder]) -> str | None:
    checks = (_about_rules(new.terms, rules), _about_ties(new, known))
    return malformed(new) or next((problem for check in checks for problem in check), None)


def _about_names(new: NewOrder) -> Iterator[str]:
    names = {
        "client_order_id": new.client_order_id,
        "symbol": new.terms.symbol,
        "oco_group": new.oco_group,
        "parent": new.parent,
    }
    for field, name in names.items():
        if name is not None and not (0 < len(name) <= _LONGEST and name.isprintable()):
            yield f"{field} must be a printable text of at most {_LONGEST} characters"


def _about_terms(terms: OrderTerms) -> Iterator[str]:
    yield from _amount("quantity", terms.quantity, is_wanted=True, type_=terms.type)
    yield from _amount("limit_price", terms.limit_price, is_wanted=terms.type in _WITH_LIMIT, type_=terms.type)
    yield from _amount("stop_price", terms.stop_price, is_wanted=terms.type in _WITH_STOP, type_=terms.type)
    if terms.valid_until is not None and terms.valid_until.tzinfo is None:
        yield "valid_until must have a time zone"
    trails = [one for one in (terms.trail_amount, terms.trail_fraction) if one is not None]
    if terms.type in _TRAILING:
        if len(trails) != 1:
            yield f"a {terms.type} order needs one of trail_amount and trail_fraction"
            return
        yield from _amount("the trail", trails[0], is_wanted=True, type_=terms.type)
        if terms.trail_fraction is not None and terms.trail_fraction >= 1:
            yield f"trail_fraction must be below 1, got {plain(terms.trail_fraction)}"
    elif trails:
        yield f"a {terms.type} order has no trail"


def _amount(field: str, amount: Decimal | None, *, is_wanted: bool, type_: OrderType) -> Iterator[str]:
    if amount is None:
        if is_wanted:
            yield f"a {type_} order needs {field}"
    elif not is_wanted:
        yield f"a {type_} order has no {field}"
    elif not amount.is_finite() or amount <= 0:
        yield f"{field} must be a finite number above zero"
    elif not SMALLEST <= amount <= LARGEST:
        yield f"{field} must be between {SMALLEST:f} and {LARGEST:f}"


def _about_rules(terms: OrderTerms, rules: AccountRules) -> Iterator[str]:
    if not is_multiple(terms.quantity, rules.quantity_step):
        yield f"quantity {plain(terms.quantity)} is not a multiple of the step {plain(rules.quantity_step)}"
    if terms.quantity < rules.minimum_quantity:
        yield f"quantity {plain(terms.quantity)} is below the minimum of {plain(rules.minimum_quantity)}"
    for field, price in (("limit_price", terms.limit_price), ("stop_price", terms.stop_price)):
        if price is not None and not is_multiple(price, rules.price_step):
            yield f"{field} {plain(price)} is not a multiple of the step {plain(rules.price_step)}"
    price = terms.limit_price or terms.stop_price
    if price is not None:
        yield from value_problem(terms.quantity * price, rules)


def value_problem(value: Decimal, rules: AccountRules) -> Iterator[str]:
    """Say that an order is worth too little; of a market order that is known when its first price is."""
    if value < rules.minimum_value:
        yield f"the order's value of {plain(value)} is below the minimum of {plain(rules.minimum_value)}"


def _about_ties(new: NewOrder, known: Mapping[ClientOrderId, PaperOrder]) -> Iterator[str]:
    if new.parent is not None:
        parent = known.get(new.parent)
        if parent is None:
            yield f"its parent {new.parent} is not known"
        elif parent.status.is_final and parent.status is not OrderStatus.FILLED:
            yield f"its parent {new.parent} was {parent.status}"
    if new.oco_group is None:
        return
    for other in known.values():
        if other.new.oco_group == new.oco_group and (over := how_it_ended_its_group(other)):
            yield f"its group is over: {other.client_order_id} was {over}"


def how_it_ended_its_group(order: PaperOrder) -> str | None:
    """Return why an order leaves the others of its group no room, None if it does not.

    A first part of it is enough: two legs that are both filled in parts are what the group is to prevent. One
    that was refused when it came has never been of the group.
    """
    if order.filled_quantity:
        return "filled"
    is_over = order.status.is_final and order.status is not OrderStatus.REJECTED
    return str(order.status) if is_over else None
