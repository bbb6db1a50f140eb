"""What a bar or a part of one makes of an account: the one place where orders of a paper venue are filled. Pure.

In this order: what has expired; what the opening fills, oldest first; what the bar fills after it, stops before
limits; triggers that follow; what expires within the bar. Whether the bar is new is told by ``marks.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal

from atf.trading.order import OrderStatus, Side
from atf.trading.paper.acceptance import value_problem
from atf.trading.paper.account import ZERO, AccountRules, BookChanges, PaperAccount, PaperOrder
from atf.trading.paper.amounts import EXACT, fee_of, floor_to, plain
from atf.trading.paper.bar import PaperBar
from atf.trading.paper.fill_rules import Execution, at_open, followed, is_waiting_stop, slipped, within
from atf.trading.paper.working_book import WorkingBook


def match(account: PaperAccount, bar: PaperBar) -> BookChanges:
    """Return what a bar makes of an account."""
    return _Matching(account, bar).changes()


class _Matching:
    """One bar at work on one account; ``budget``: how much more of it may be filled, None: all that is asked."""

    def __init__(self, account: PaperAccount, bar: PaperBar) -> None:
        self._rules = account.rules
        self._bar = bar
        self._working = WorkingBook(account.book, bar.opens_at)
        self._budget = _budget(account.rules, bar)

    def changes(self) -> BookChanges:
        self._expire_before(self._bar.opens_at)
        for order in self._active():
            self._execute(order, at_open, self._bar.opens_at)
        lasting = [order for order in self._active() if not _expires(order, self._bar.closes_at)]
        for order in sorted(lasting, key=lambda order: not is_waiting_stop(order)):
            self._execute(order, within, self._bar.closes_at)
        self._follow()
        self._expire_before(self._bar.closes_at)
        return self._working.changes()

    def _active(self) -> Iterator[PaperOrder]:
        """The orders that the bar concerns, each as it is when it comes to it."""
        for order in self._working.resting(self._bar.symbol):
            current = self._working.current(order.client_order_id)
            if current is not None and not current.is_asleep and current.active_from <= self._bar.opens_at:
                yield current

    def _execute(
        self, order: PaperOrder, rule: Callable[[PaperOrder, PaperBar], Execution], at: datetime
    ) -> None:
        current = self._working.current(order.client_order_id)
        if current is None:  # ended by one before it
            return
        executed = rule(current, self._bar)
        if executed.order is not current:
            self._working.put(executed.order)
        if executed.price is not None:
            self._fill(executed.order, self._price(executed, executed.price), at)

    def _price(self, executed: Execution, price: Decimal) -> Decimal:
        if not executed.slips:
            return price
        side, fraction = executed.order.terms.side, self._rules.model.slippage_fraction
        return slipped(price, side, fraction, self._rules.price_step)

    def _fill(self, order: PaperOrder, price: Decimal, at: datetime) -> None:
        quantity = self._take(order)
        if not quantity:
            return
        value = EXACT.multiply(quantity, price)
        fee = fee_of(value, self._rules.model.fee_fraction)
        problem = self._problem(order, quantity, price, EXACT.add(value, fee))
        if problem is not None:
            is_untouched = not order.filled_quantity
            self._working.end(order, OrderStatus.REJECTED if is_untouched else OrderStatus.CANCELLED, problem)
            return
        if self._budget is not None:
            self._budget -= quantity
        self._working.fill(order, quantity, price, fee, at)

    def _take(self, order: PaperOrder) -> Decimal:
        if self._budget is None or order.remaining_quantity <= self._budget:
            return order.remaining_quantity
        return floor_to(self._budget, self._rules.quantity_step)

    def _problem(self, order: PaperOrder, quantity: Decimal, price: Decimal, needed: Decimal) -> str | None:
        """Return why a fill cannot be; what an order needs is not known before."""
        if not order.filled_quantity:
            too_small = next(value_problem(EXACT.multiply(order.terms.quantity, price), self._rules), None)
            if too_small is not None:
                return too_small
        held = self._working.position(order.terms.symbol)
        if order.terms.side is Side.SELL:
            is_short = not self._rules.allow_short and held < quantity
            return _short(quantity, max(held, ZERO)) if is_short else None
        only_covers = held + quantity <= 0  # a way out of a short position is never barred
        if needed > self._working.cash and not only_covers:
            return f"insufficient cash: {plain(needed)} is needed, there is {plain(self._working.cash)}"
        return None

    def _follow(self) -> None:
        for order in self._active():
            moved = followed(order, self._bar, self._rules.price_step)
            if moved is not order:
                self._working.put(moved)

    def _expire_before(self, instant: datetime) -> None:
        for order in self._working.resting(self._bar.symbol):
            current = self._working.current(order.client_order_id)
            if current is not None and _expires(current, instant):
                self._working.end(current, OrderStatus.CANCELLED, f"it was valid until {_shown(current)}")


def _budget(rules: AccountRules, bar: PaperBar) -> Decimal | None:
    fraction = rules.model.partial_fill_fraction
    if fraction is None:
        return None
    return ZERO if bar.volume is None else EXACT.multiply(bar.volume, fraction)


def _expires(order: PaperOrder, instant: datetime) -> bool:
    return order.terms.valid_until is not None and order.terms.valid_until < instant


def _shown(order: PaperOrder) -> str:
    return "" if order.terms.valid_until is None else order.terms.valid_until.isoformat()


def _short(quantity: Decimal, held: Decimal) -> str:
    return f"short selling is not allowed here: {plain(quantity)} to sell, {plain(held)} held"
