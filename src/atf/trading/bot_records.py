"""What is stored of bots, as people look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from atf.trading.order import BotId


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which rows are wanted, newest first: with a smaller id than ``before_id``, and, if so, only open ones."""

    before_id: int | None = None
    limit: int = 50
    only_open: bool = False


@dataclass(frozen=True, slots=True)
class BotVersion:
    """A configuration as it was stored, by whom, and why if that was said."""

    bot_id: BotId
    version: int
    config: Mapping[str, Any]
    note: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """Something that a bot is told to do once; None until the trading service has taken it."""

    id: int
    bot_id: BotId
    command: str
    dedup_key: str
    created_at: datetime
    accepted_at: datetime | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that happened to a bot."""

    id: int
    at: datetime
    kind: str
    level: str
    text: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order; ``average_price`` of its fills, None if there are none."""

    id: int
    client_order_id: str
    symbol: str
    side: str
    type: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail_amount: Decimal | None
    trail_fraction: Decimal | None
    filled_quantity: Decimal
    average_price: Decimal | None
    fees: Decimal
    status: str
    reason: str | None
    venue_order_id: str | None
    bar_at: datetime
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class FillRecord:
    """One execution of an order."""

    id: int
    client_order_id: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    filled_at: datetime


@dataclass(frozen=True, slots=True)
class PositionRecord:
    """A position; ``quantity`` that is open, never below zero; ``realized_pnl`` without ``fees``."""

    id: int
    symbol: str
    direction: str
    status: str
    quantity: Decimal
    average_price: Decimal | None
    realized_pnl: Decimal
    fees: Decimal
    origin: str
    opened_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class TradeRecord:
    """A position's life from flat to flat; ``size``: the largest quantity; ``realized_pnl`` without ``fees``."""

    id: int
    symbol: str
    direction: str
    status: str
    size: Decimal
    entry_time: datetime
    entry_price: Decimal | None
    exit_time: datetime | None
    exit_price: Decimal | None
    realized_pnl: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """What a bot was worth at a bar's close, cash and positions."""

    bar_at: datetime
    equity: Decimal
    cash: Decimal


class BotRecordStore(Protocol):
    """What bots did and hold, newest first."""

    async def versions(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[BotVersion]:
        """Return versions of the configuration; their numbers are the ids."""
        ...

    async def version(self, bot_id: BotId, version: int) -> BotVersion | None:
        """Return one version."""
        ...

    async def events(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[EventRecord]:
        """Return what happened."""
        ...

    async def orders(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[OrderRecord]:
        """Return orders."""
        ...

    async def fills(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[FillRecord]:
        """Return executions."""
        ...

    async def positions(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[PositionRecord]:
        """Return positions."""
        ...

    async def trades(self, bot_id: BotId, wanted: RecordFilter) -> Sequence[TradeRecord]:
        """Return trades."""
        ...

    async def equity(self, bot_id: BotId, before: datetime | None, limit: int) -> Sequence[EquityPoint]:
        """Return what the bot was worth, before an instant if one is given."""
        ...
