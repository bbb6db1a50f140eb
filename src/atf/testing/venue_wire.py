"""What the local venue and its client write to each other: JSON, amounts as text, instants in ISO 8601."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from atf.trading.broker import Instrument, OpenState, VenueEvent, VenueOrder
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder, OrderStatus, OrderTerms, OrderType, Side

Document = Mapping[str, Any]

_AMOUNTS: Final = ("limit_price", "stop_price", "trail_amount", "trail_fraction")
_STEPS: Final = ("quantity_step", "price_step", "minimum_quantity", "minimum_value")


def order_document(order: NewOrder) -> dict[str, Any]:
    """Write a new order."""
    terms = {field.name: _plain(getattr(order.terms, field.name)) for field in fields(order.terms)}
    ties = {"oco_group": order.oco_group, "parent": order.parent}
    return {"client_order_id": order.client_order_id, **terms, **ties}


def read_order(document: Document) -> NewOrder:
    """Read a new order. Errors: KeyError, ValueError, ArithmeticError, TypeError if it is none."""
    prices = {name: None if document[name] is None else Decimal(document[name]) for name in _AMOUNTS}
    until = document["valid_until"]
    terms = OrderTerms(
        document["symbol"],
        Side(document["side"]),
        OrderType(document["type"]),
        Decimal(document["quantity"]),
        valid_until=None if until is None else datetime.fromisoformat(until),
        **prices,
    )
    parent = document["parent"]
    return NewOrder(
        ClientOrderId(document["client_order_id"]),
        terms,
        document["oco_group"],
        None if parent is None else ClientOrderId(parent),
    )


def venue_order_document(order: VenueOrder) -> dict[str, Any]:
    """Write how an order stands."""
    return {field.name: _plain(getattr(order, field.name)) for field in fields(order)}


def read_venue_order(document: Document) -> VenueOrder:
    """Read how an order stands."""
    return VenueOrder(
        ClientOrderId(document["client_order_id"]),
        document["venue_order_id"],
        document["symbol"],
        OrderStatus(document["status"]),
        Decimal(document["filled_quantity"]),
        document["reason"],
    )


def fill_document(fill: Fill) -> dict[str, Any]:
    """Write a fill."""
    return {field.name: _plain(getattr(fill, field.name)) for field in fields(fill)}


def read_fill(document: Document) -> Fill:
    """Read a fill."""
    return Fill(
        document["venue_fill_id"],
        ClientOrderId(document["client_order_id"]),
        document["symbol"],
        Side(document["side"]),
        Decimal(document["quantity"]),
        Decimal(document["price"]),
        Decimal(document["fee"]),
        datetime.fromisoformat(document["filled_at"]),
    )


def event_document(event: VenueEvent) -> dict[str, Any]:
    """Write an event with its kind."""
    if isinstance(event, Fill):
        return {"kind": "fill", **fill_document(event)}
    return {"kind": "order", **venue_order_document(event)}


def read_event(document: Document) -> VenueEvent:
    """Read an event."""
    return read_fill(document) if document["kind"] == "fill" else read_venue_order(document)


def state_document(state: OpenState) -> dict[str, Any]:
    """Write what an account holds."""
    return {
        "positions": {symbol: _plain(quantity) for symbol, quantity in state.positions.items()},
        "orders": [venue_order_document(order) for order in state.orders],
        "cash": _plain(state.cash),
        "at": _plain(state.at),
    }


def read_state(document: Document) -> OpenState:
    """Read what an account holds."""
    return OpenState(
        {symbol: Decimal(quantity) for symbol, quantity in document["positions"].items()},
        [read_venue_order(order) for order in document["orders"]],
        Decimal(document["cash"]),
        datetime.fromisoformat(document["at"]),
    )


def instrument_document(instrument: Instrument) -> dict[str, Any]:
    """Write the rules of a symbol."""
    return {field.name: _plain(getattr(instrument, field.name)) for field in fields(instrument)}


def read_instrument(document: Document) -> Instrument:
    """Read the rules of a symbol."""
    return Instrument(document["symbol"], **{name: Decimal(document[name]) for name in _STEPS})


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime) else value
