"""What a former process of a bot has left: its positions as open trades, its orders as orders of the new one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import backtrader as bt

from atf.adapters.backtrader.bar_time import as_number
from atf.adapters.backtrader.live_feed import LiveFeed
from atf.adapters.backtrader.order_terms import EXECUTION_TYPES
from atf.adapters.backtrader.service_broker import ServiceBroker
from atf.adapters.backtrader.tracked_order import TrackedOrder
from atf.trading.bot_messages import HeldPosition, OpenOrder, Start
from atf.trading.order import OrderStatus, OrderTerms, Side

_STATUSES: Final = {
    OrderStatus.ACCEPTED: bt.Order.Accepted,
    OrderStatus.PARTIALLY_FILLED: bt.Order.Partial,
}


def recover(start: Start, broker: ServiceBroker, strategy: Any, feeds: Sequence[LiveFeed]) -> None:
    """Put trades and orders back to where they were; the strategy is told of none, it finds them."""
    first = {feed.symbol: data for feed, data in reversed(list(zip(start.feeds, feeds, strict=True)))}
    for position in start.positions:
        if position.symbol in first and position.quantity:
            _open_trade(position, strategy, first[position.symbol])
    found: dict[int, Any] = {}
    for one in sorted(start.orders, key=lambda one: one.ref):
        if one.terms.symbol in first:
            found[one.ref] = order = _order(one, strategy, first[one.terms.symbol], found)
            order.broker = broker
            order.addcomminfo(broker.getcommissioninfo(order.data))
            broker.desk.add_recovered(TrackedOrder.recovered(order, one))
    bt.Order.refbasis = itertools.count(start.next_ref)


def _open_trade(held: HeldPosition, strategy: Any, data: LiveFeed) -> None:
    """Let what is sold from now on close the trade that it belongs to, with the profit since its entry."""
    size, price = float(held.quantity), float(held.price)
    trade = bt.Trade(
        data=data,
        historyon=strategy._tradehistoryon,
        size=size,
        price=price,
        value=size * price,
        commission=float(held.fees),
    )
    trade.long, trade.isopen, trade.justopened, trade.status = size > 0, True, True, bt.Trade.Open
    trade.baropen = len(data)
    trade.dtopen = as_number(held.opened_at) if held.opened_at is not None else 0.0
    trade.pnlcomm = -trade.commission
    strategy._trades[data][0].append(trade)
    for analyzer in strategy.analyzers:
        analyzer._notify_trade(trade)


def _order(found: OpenOrder, strategy: Any, data: LiveFeed, others: Mapping[int, Any]) -> Any:
    """Build an order as it stood. While it is built it is marked as simulated: it is not made at this bar."""
    terms = found.terms
    kind = bt.BuyOrder if terms.side is Side.BUY else bt.SellOrder
    prices = _prices(terms, data)
    order = kind(
        owner=strategy,
        data=data,
        size=float(terms.quantity),
        price=prices["price"],
        pricelimit=prices["pricelimit"],
        exectype=EXECUTION_TYPES[terms.type],
        valid=None if terms.valid_until is None else terms.valid_until.replace(tzinfo=None),
        trailamount=_float(terms.trail_amount),
        trailpercent=_float(terms.trail_fraction),
        parent=others.get(found.parent_ref or 0),
        oco=others.get(found.oco_ref or 0),
        simulated=True,
    )
    order.p.simulated = False
    order.ref = found.ref
    order.created.price, order.created.pricelimit = prices["price"], prices["pricelimit"]
    order.submit(order.broker)
    order.status = _STATUSES.get(found.status, bt.Order.Submitted)
    filled = float(found.filled_quantity) * terms.side.sign
    order.executed.size, order.executed.price = filled, _float(found.average_price) or 0.0
    order.executed.remsize = float(terms.quantity - found.filled_quantity) * terms.side.sign
    order.executed.comm = float(found.fees)
    return order


def _prices(terms: OrderTerms, data: LiveFeed) -> dict[str, float | None]:
    """Return an order's price and limit in Backtrader's places."""
    limit, stop = _float(terms.limit_price), _float(terms.stop_price)
    if stop is None:
        close = data.close[0] if len(data) else 0.0
        return {"price": close if limit is None else limit, "pricelimit": None}
    return {"price": stop, "pricelimit": limit}


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
