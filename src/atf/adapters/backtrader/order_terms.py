"""What a strategy's order asks of a venue, and which of Backtrader's orders has these terms."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import backtrader as bt

from atf.adapters.backtrader.bar_time import end_of_day
from atf.trading.order import OrderTerms, OrderType, Side

TYPES: Final = {
    bt.Order.Market: OrderType.MARKET,
    bt.Order.Limit: OrderType.LIMIT,
    bt.Order.Stop: OrderType.STOP,
    bt.Order.StopLimit: OrderType.STOP_LIMIT,
    bt.Order.StopTrail: OrderType.TRAILING_STOP,
    bt.Order.StopTrailLimit: OrderType.TRAILING_STOP_LIMIT,
}
EXECUTION_TYPES: Final = {ours: theirs for theirs, ours in TYPES.items()}
_WITH_LIMIT: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP_LIMIT})
_TRAILING: Final = frozenset({OrderType.TRAILING_STOP, OrderType.TRAILING_STOP_LIMIT})
_WITH_STOP: Final = _TRAILING | {OrderType.STOP, OrderType.STOP_LIMIT}


class UnsendableOrder(Exception):
    """An order that no venue is asked for; the text says why."""


def terms_of(order: Any, symbol: str) -> OrderTerms:
    """Return the terms of a strategy's order, with its numbers as they are. Errors: UnsendableOrder."""
    kind = TYPES.get(order.exectype)
    if kind is None:
        raise UnsendableOrder(f"an order of the type {order.getordername()} cannot be sent")
    created = order.created
    by_amount = kind in _TRAILING and bool(order.trailamount)
    if kind in _TRAILING and not by_amount and not order.trailpercent:
        raise UnsendableOrder("a trailing stop needs trailamount or trailpercent")
    price = created.price if kind is OrderType.LIMIT else created.pricelimit
    return OrderTerms(
        symbol,
        Side.BUY if order.isbuy() else Side.SELL,
        kind,
        _amount("size", abs(order.size)),
        limit_price=_amount("limit price", price) if kind in _WITH_LIMIT else None,
        stop_price=_amount("stop price", created.price) if kind in _WITH_STOP else None,
        trail_amount=_amount("trailamount", order.trailamount) if by_amount else None,
        trail_fraction=_amount("trailpercent", order.trailpercent)
        if kind in _TRAILING and not by_amount
        else None,
        valid_until=_valid_until(order),
    )


def exact(value: float) -> Decimal:
    """Return a strategy's number as it is written, without the noise behind it."""
    return Decimal(value) if isinstance(value, int) else Decimal(repr(float(value)))


def _amount(name: str, value: float | None) -> Decimal:
    if value is None or not isfinite(value) or value <= 0:
        raise UnsendableOrder(f"its {name} is {value}")
    return exact(value)


def _valid_until(order: Any) -> datetime | None:
    """Return until when an order may be filled, from any of the forms that Backtrader takes.

    A date without a time, and what Backtrader calls a day order, are good until the end of that day.
    """
    valid = order.p.valid
    if valid is None:
        return None
    now: datetime = order.data.datetime.datetime(0)
    match valid:
        case datetime():
            until = valid if valid.tzinfo is None else valid.astimezone(UTC).replace(tzinfo=None)
        case date():
            until = end_of_day(datetime(valid.year, valid.month, valid.day))  # noqa: DTZ001 - as Backtrader's
        case timedelta():
            until = now + valid if valid else end_of_day(now)
        case int() | float() if isfinite(valid):
            until = bt.num2date(valid) if valid else end_of_day(now)
        case _:
            raise UnsendableOrder(f"valid={valid!r} is no time")
    return until.replace(tzinfo=UTC)
