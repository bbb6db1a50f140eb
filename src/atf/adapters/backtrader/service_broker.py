"""The broker that a strategy sees: it decides nothing, hands orders on, and tells what the service says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

import backtrader as bt

from atf.adapters.backtrader.commission import fees_of
from atf.adapters.backtrader.holdings import Holdings
from atf.adapters.backtrader.order_desk import OrderDesk
from atf.adapters.backtrader.order_terms import UnsendableOrder, terms_of
from atf.trading.bot_messages import OrderRequest, Start

Say = Callable[[str, str], None]


class ServiceBroker(bt.BrokerBase):  # type: ignore[misc]
    """Cash, positions and orders as the service has told them.

    An order keeps Backtrader's life: Submitted, Accepted, Partial, Completed and so on are notified as
    the service commits them. What ties orders together is the service's business: it cancels the others of a
    group, and wakes or cancels the children of a bracket.
    """

    def __init__(self, start: Start, say: Say) -> None:
        super().__init__()
        self._say = say
        self._symbols: dict[Any, str] = {}
        self.notifs: deque[Any] = deque()
        self._in_round: int | None = None
        self.holdings = Holdings([feed.symbol for feed in start.feeds], start.positions)
        self.desk = OrderDesk(self.holdings, self.notify, start.most_orders)
        self._closes = _first_closes(start)
        self._value: float | None = None
        self.set_cash(start.cash)
        self.startingcash = self.cash
        self.comminfo[None] = fees_of(start.fee_fraction)

    def set_cash(self, cash: Decimal, value: Decimal | None = None) -> None:
        """Take the service's word for the cash, and for what everything is worth at the newest closes."""
        self.cash = float(cash)
        self._value = None if value is None else float(value)

    def set_close(self, symbol: str, close: float) -> None:
        """Remember at which price a symbol was last traded."""
        if isfinite(close):
            self._closes[symbol] = close

    def add_data(self, data: Any, symbol: str) -> None:
        """Say which symbol is traded on one of the strategy's datas."""
        self._symbols[data] = symbol

    def symbol_of(self, data: Any) -> str:
        """Return the symbol that is traded on one of the strategy's datas."""
        return self._symbols[data]

    # What follows is called by Backtrader and by strategies, under Backtrader's names.

    def getcash(self) -> float:
        """Return the cash that is there."""
        return self.cash

    get_cash = getcash

    def getvalue(self, datas: Any = None, mkt: bool = False, lever: bool = False) -> float:  # noqa: ARG002
        """Return what everything, or what is held of some datas, is worth."""
        if datas is not None:
            return sum(self._worth(symbol) for symbol in {self._symbols[data] for data in datas})
        if self._value is not None:
            return self._value
        return self.cash + sum(map(self._worth, self.holdings.positions))

    get_value = getvalue

    def _worth(self, symbol: str) -> float:
        position = self.holdings.positions[symbol]
        return float(position.size * self._closes.get(symbol, position.price))

    def getposition(self, data: Any) -> Any:
        """Return the position of the symbol of one of the datas."""
        return self.holdings.positions[self._symbols[data]]

    @property
    def positions(self) -> Mapping[Any, Any]:
        """The positions by data."""
        return {data: self.holdings.positions[symbol] for data, symbol in self._symbols.items()}

    def get_orders_open(self, safe: bool = False) -> list[Any]:
        """Return the orders that are at work; ``safe`` for copies."""
        found = self.desk.open_orders()
        return [order.clone() for order in found] if safe else found

    def orderstatus(self, order: Any) -> int:
        """Return Backtrader's status of an order."""
        return int(order.status)

    def get_notification(self) -> Any:
        """Return the next order whose strategy must be told in this round; None if there is none.

        What comes of the news is told in the next round: a strategy that answers each refusal with one more order
        would never be done.
        """
        left = len(self.notifs) if self._in_round is None else self._in_round
        self._in_round = left - 1 if left else None
        return self.notifs.popleft() if left else None

    def notify(self, order: Any) -> None:
        """Queue a copy of an order, as it is now, for its strategy."""
        self.notifs.append(order.clone())

    def buy(self, owner: Any, data: Any, size: float, price: Any = None, plimit: Any = None, **terms: Any) -> Any:
        """Make an order to buy."""
        return self._make(bt.BuyOrder, owner, data, size, price, plimit, terms)

    def sell(
        self, owner: Any, data: Any, size: float, price: Any = None, plimit: Any = None, **terms: Any
    ) -> Any:
        """Make an order to sell."""
        return self._make(bt.SellOrder, owner, data, size, price, plimit, terms)

    def _make(
        self, kind: Any, owner: Any, data: Any, size: float, price: Any, plimit: Any, terms: dict[str, Any]
    ) -> Any:
        known = {name: _plain(terms.pop(name)) for name in _TERMS & terms.keys()}
        order = kind(
            owner=owner, data=data, size=_plain(size), price=_plain(price), pricelimit=_plain(plimit), **known
        )
        order.addinfo(**terms)
        order.addcomminfo(self.getcommissioninfo(data))
        return self.submit(order)

    def submit(self, order: Any) -> Any:
        """Hand an order on; one that is not to be transmitted yet waits for the last of its bracket."""
        try:
            request = OrderRequest(
                order.ref,
                terms_of(order, self._symbols[order.data]),
                oco_ref=None if order.p.oco is None else order.p.oco.ref,
                parent_ref=None if order.parent is None else order.parent.ref,
            )
        except UnsendableOrder as exc:
            self._say("warning", f"order {order.ref} is not sent: {exc}")
            self.desk.refuse(order)
            return order
        order.submit(self)
        self.desk.add(order, request)
        return order

    def cancel(self, order: Any) -> bool:
        """Ask for an order's cancellation; it is at work until the service says otherwise."""
        return self.desk.cancel(order)


_TERMS = frozenset({"exectype", "valid", "tradeid", "oco", "trailamount", "trailpercent", "parent", "transmit"})


def _plain(value: Any) -> Any:
    """Return a number that Backtrader can reckon with: it mixes them with floats."""
    return float(value) if isinstance(value, Decimal) else value


def _first_closes(start: Start) -> dict[str, float]:
    held = {one.symbol: float(one.price) for one in start.positions}
    return held | {feed.symbol: feed.history[-1][1][3] for feed in start.feeds if feed.history}
