"""Rows of the paper venue's tables as its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row

from atf.trading.broker import VenueOrder
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder, OrderStatus, OrderTerms, OrderType, Side
from atf.trading.paper.account import AccountRules, FillModel, PaperOrder

ORDER_COLUMNS: Final = (
    "o.id, o.account_id, o.client_order_id, o.symbol, o.side, o.type, o.quantity, o.limit_price, o.stop_price, "
    "o.trail_amount, o.trail_fraction, o.valid_until, o.oco_group, o.parent, o.status, o.reason, o.is_asleep, "
    "o.is_triggered, o.current_trigger, o.current_limit, o.filled_quantity, o.fill_count, o.accepted_at, "
    "o.active_from"
)
FILL_COLUMNS: Final = (
    "f.account_id, f.venue_fill_id, f.client_order_id, f.symbol, f.side, f.quantity, f.price, f.fee, f.filled_at"
)
RESTING: Final = "o.status IN ('accepted', 'partially_filled')"


def venue_order_id(number: int) -> str:
    """Return how the venue calls an order."""
    return f"paper-{number}"


def told(order: PaperOrder) -> VenueOrder:
    """Return an order in the words of the order path."""
    return order.as_told(venue_order_id(order.number))


def order_of(row: Row[Any]) -> PaperOrder:
    """Return an order."""
    terms = OrderTerms(
        row.symbol,
        Side(row.side),
        OrderType(row.type),
        row.quantity,
        row.limit_price,
        row.stop_price,
        row.trail_amount,
        row.trail_fraction,
        row.valid_until,
    )
    parent = None if row.parent is None else ClientOrderId(row.parent)
    return PaperOrder(
        row.id,
        NewOrder(ClientOrderId(row.client_order_id), terms, row.oco_group, parent),
        OrderStatus(row.status),
        row.accepted_at,
        row.active_from,
        row.is_asleep,
        row.is_triggered,
        row.current_trigger,
        row.current_limit,
        row.filled_quantity,
        row.fill_count,
        row.reason,
    )


def fill_of(row: Row[Any]) -> Fill:
    """Return a fill."""
    return Fill(
        row.venue_fill_id,
        ClientOrderId(row.client_order_id),
        row.symbol,
        Side(row.side),
        row.quantity,
        row.price,
        row.fee,
        row.filled_at,
    )


def rules_of(row: Row[Any]) -> AccountRules:
    """Return an account's rules."""
    model = FillModel(
        row.fee_fraction,
        row.slippage_fraction,
        timedelta(microseconds=int(row.latency_seconds * 1_000_000)),
        row.partial_fill_fraction,
    )
    return AccountRules(
        model, row.allow_short, row.quantity_step, row.price_step, row.minimum_quantity, row.minimum_value
    )


def rules_values(rules: AccountRules) -> dict[str, Any]:
    """Return rules as the columns of an account."""
    model = rules.model
    return {
        "fee_fraction": model.fee_fraction,
        "slippage_fraction": model.slippage_fraction,
        "latency_seconds": Decimal(model.latency // timedelta(microseconds=1)) / 1_000_000,
        "partial_fill_fraction": model.partial_fill_fraction,
        "allow_short": rules.allow_short,
        "quantity_step": rules.quantity_step,
        "price_step": rules.price_step,
        "minimum_quantity": rules.minimum_quantity,
        "minimum_value": rules.minimum_value,
    }


def state_columns(orders: Sequence[PaperOrder]) -> Mapping[str, list[Any]]:
    """Return what may change of orders, column by column."""
    return {
        "statuses": [str(one.status) for one in orders],
        "reasons": [one.reason for one in orders],
        "asleep": [one.is_asleep for one in orders],
        "triggered": [one.is_triggered for one in orders],
        "triggers": [one.trigger for one in orders],
        "limits": [one.limit for one in orders],
        "filled": [one.filled_quantity for one in orders],
        "counts": [one.fill_count for one in orders],
        "actives": [one.active_from for one in orders],
    }


def terms_columns(orders: Sequence[PaperOrder]) -> Mapping[str, list[Any]]:
    """Return what was asked for, column by column."""
    terms = [one.terms for one in orders]
    return {
        "names": [one.client_order_id for one in orders],
        "symbols": [one.symbol for one in terms],
        "sides": [str(one.side) for one in terms],
        "types": [str(one.type) for one in terms],
        "quantities": [one.quantity for one in terms],
        "limit_prices": [one.limit_price for one in terms],
        "stop_prices": [one.stop_price for one in terms],
        "trail_amounts": [one.trail_amount for one in terms],
        "trail_fractions": [one.trail_fraction for one in terms],
        "valid_untils": [one.valid_until for one in terms],
        "groups": [one.new.oco_group for one in orders],
        "parents": [one.new.parent for one in orders],
        "accepted": [one.accepted_at for one in orders],
    }
