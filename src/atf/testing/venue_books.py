"""The local venue's memory: accounts with the matching rules of the paper venue, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from atf.market.bars import Series
from atf.trading.broker import OpenState, OrderRejected, VenueEvent, VenueOrder
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder, OrderStatus
from atf.trading.paper.acceptance import accept
from atf.trading.paper.account import AccountRules, BookChanges, PaperAccount, PaperBook, PaperOrder
from atf.trading.paper.bar import PaperBar
from atf.trading.paper.marks import Mark, is_new
from atf.trading.paper.matching import match
from atf.trading.paper.working_book import cancel


@dataclass(slots=True)
class HeldAccount:
    """One account: its book, every order that it ever had, every fill, and all events so far."""

    account: PaperAccount
    orders: dict[ClientOrderId, PaperOrder] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    events: list[VenueEvent] = field(default_factory=list)
    taken: int = 0
    """How many orders came, those included that were forgotten: no number is given twice."""

    def take(self, changes: BookChanges) -> Sequence[VenueEvent]:
        """Go on from what something made of the book; return what there is to tell."""
        self.account = replace(self.account, book=changes.after)
        self.orders |= {order.client_order_id: order for order in changes.orders}
        self.fills += changes.fills
        return [*changes.fills, *map(told, changes.orders)]


class VenueBooks:
    """All accounts of a venue; one is made when it is first named."""

    def __init__(self, rules: AccountRules, cash: Decimal) -> None:
        self.rules = rules
        self.cash = cash
        self._accounts: dict[str, HeldAccount] = {}
        self._marks: dict[Series, Mark] = {}

    def account(self, name: str) -> HeldAccount:
        """Return an account."""
        if name not in self._accounts:
            self._accounts[name] = HeldAccount(PaperAccount(name, self.rules, PaperBook(self.cash)))
        return self._accounts[name]

    def submit(self, name: str, new: NewOrder, at: datetime) -> tuple[VenueOrder, Sequence[VenueEvent]]:
        """Take an order, or find the one that has its name.

        Errors: OrderRejected, for good: a refused order stays refused.
        """
        held = self.account(name)
        order, events = held.orders.get(new.client_order_id), list[VenueEvent]()
        if order is None:
            held.taken += 1
            order = accept(new, self.rules, held.orders, held.taken, at)
            held.orders[order.client_order_id] = order
            if order.status is not OrderStatus.REJECTED:
                book = held.account.book
                held.account = replace(held.account, book=replace(book, orders=(*book.orders, order)))
                events.append(told(order))
        if order.status is OrderStatus.REJECTED:
            raise OrderRejected(order.reason or "refused")
        return told(order), events

    def cancel(
        self, name: str, client_order_id: ClientOrderId, at: datetime
    ) -> tuple[VenueOrder | None, Sequence[VenueEvent]]:
        """Cancel an order; None if there is none of this name."""
        held = self.account(name)
        if client_order_id not in held.orders:
            return None, []
        events = held.take(cancel(held.account.book, client_order_id, at))
        return told(held.orders[client_order_id]), events

    def order(self, name: str, client_order_id: ClientOrderId) -> VenueOrder | None:
        """Return how an order stands."""
        found = self.account(name).orders.get(client_order_id)
        return None if found is None else told(found)

    def fills_of(self, name: str, client_order_id: ClientOrderId) -> Sequence[Fill]:
        """Return the fills of an order; of one that was forgotten, none."""
        held = self.account(name)
        if client_order_id not in held.orders:
            return []
        return [fill for fill in held.fills if fill.client_order_id == client_order_id]

    def state(self, name: str, at: datetime) -> OpenState:
        """Return what an account holds."""
        book = self.account(name).account.book
        return OpenState(book.positions, [told(order) for order in book.orders], book.cash, at)

    def is_new(self, series: Series, open_time: datetime) -> bool:
        """Note a bar as matched; False if it was already."""
        if not is_new(series, open_time, self._marks):
            return False
        self._marks[series] = Mark(open_time, open_time + series.timeframe.length)
        return True

    def match(self, bar: PaperBar) -> Mapping[str, Sequence[VenueEvent]]:
        """Match a bar or tick with all accounts; return what there is to tell, by account."""
        told_of = {name: held.take(match(held.account, bar)) for name, held in self._accounts.items()}
        return {name: events for name, events in told_of.items() if events}

    def move(self, name: str, symbol: str, quantity: Decimal) -> None:
        """Change a position without any order, as a person does on the venue's own page."""
        held = self.account(name)
        positions = {**held.account.book.positions}
        positions[symbol] = positions.get(symbol, Decimal(0)) + quantity
        left = {one: amount for one, amount in positions.items() if amount}
        held.account = replace(held.account, book=replace(held.account.book, positions=left))

    def forget(self, name: str, client_order_id: ClientOrderId) -> None:
        """Lose an order, as if it had never come; what it was filled with stays."""
        held = self.account(name)
        del held.orders[client_order_id]
        resting = tuple(one for one in held.account.book.orders if one.client_order_id != client_order_id)
        held.account = replace(held.account, book=replace(held.account.book, orders=resting))


def told(order: PaperOrder) -> VenueOrder:
    """Return an order in the words of the order path."""
    return order.as_told(f"V{order.number}")
