"""Accounts, orders and bars of a paper venue, in as few words as a table of them needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import nan
from typing import Any

from atf.market.bars import Series, Timeframe
from atf.trading.bot_messages import Candle
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder, OrderStatus, OrderTerms, OrderType, Side
from atf.trading.paper.acceptance import accept
from atf.trading.paper.account import AccountRules, BookChanges, FillModel, PaperAccount, PaperBook, PaperOrder
from atf.trading.paper.bar import bar_of
from atf.trading.paper.matching import match
from atf.trading.paper.working_book import cancel

BTC = "BTC/USDT"
MINUTES = Series(BTC, Timeframe.M1)
BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""When orders are accepted and the first bar opens."""

Prices = tuple[float, float, float, float]


def rules(**given: Any) -> AccountRules:
    """Rules of an account; the names are those of ``AccountRules`` and ``FillModel``, numbers as text."""
    exact = _exact(given)
    costs = {name: exact.pop(name) for name in FillModel.__dataclass_fields__ if name in exact}
    return AccountRules(model=FillModel(**costs), **exact)


def terms(side: str, type_: str, quantity: str = "1", *, symbol: str = BTC, **prices: Any) -> OrderTerms:
    """Terms of an order; prices as text."""
    return OrderTerms(symbol, Side(side), OrderType(type_), Decimal(quantity), **_exact(prices))


def new(
    name: str, side: str, type_: str, quantity: str = "1", *, group: str | None = None, parent: str | None = None,
    **prices: Any,
) -> NewOrder:  # fmt: skip
    """An order as it is sent."""
    above = None if parent is None else ClientOrderId(parent)
    return NewOrder(ClientOrderId(name), terms(side, type_, quantity, **prices), group, above)


def _exact(given: dict[str, Any]) -> dict[str, Any]:
    return {name: Decimal(value) if isinstance(value, str) else value for name, value in given.items()}


def candle(prices: Sequence[float], volume: float = 1000.0) -> Candle:
    """A candle of open, high, low and close."""
    opened, high, low, close = prices
    return (opened, high, low, close, volume)


class Desk:
    """One account whose orders and bars follow each other; a bar a minute."""

    def __init__(self, cash: str = "100000", **given: Any) -> None:
        self.account = PaperAccount("desk", rules(**given), PaperBook(Decimal(cash)))
        self.orders: dict[ClientOrderId, PaperOrder] = {}
        self.fills: list[Fill] = []
        self.now = BEGIN

    def send(self, order: NewOrder) -> PaperOrder:
        """Have an order accepted or refused at the present instant."""
        taken = accept(order, self.account.rules, self.orders, len(self.orders) + 1, self.now)
        self.orders[taken.client_order_id] = taken
        if not taken.status.is_final:
            book = self.account.book
            self.account = replace(self.account, book=replace(book, orders=(*book.orders, taken)))
        return taken

    def cancel(self, name: str) -> None:
        self._take(cancel(self.account.book, ClientOrderId(name), self.now))

    def bar(self, *prices: float, volume: float = 1000.0) -> list[tuple[str, str, str]]:
        """Match the next minute; its fills as (order, quantity, price)."""
        made = bar_of(MINUTES, self.now, candle(prices, volume))
        self.now += timedelta(minutes=1)
        return [] if made is None else self._take(match(self.account, made))

    def _take(self, changes: BookChanges) -> list[tuple[str, str, str]]:
        self.account = replace(self.account, book=changes.after)
        self.orders |= {order.client_order_id: order for order in changes.orders}
        self.fills += changes.fills
        return [(fill.client_order_id, number(fill.quantity), number(fill.price)) for fill in changes.fills]

    def status(self, name: str) -> OrderStatus:
        return self.orders[ClientOrderId(name)].status

    def reason(self, name: str) -> str | None:
        return self.orders[ClientOrderId(name)].reason

    @property
    def cash(self) -> str:
        return number(self.account.book.cash)

    @property
    def held(self) -> str:
        return number(self.account.book.positions.get(BTC, Decimal(0)))


def number(amount: Decimal) -> str:
    """An amount as it is written in tables."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


MISSING = nan
