"""What the service and a bot's process say to each other, one message after the other over one socket. Pure.

The process has no database, no network and no credentials: all that it learns comes in these messages, and all
that it wants goes out in them. It answers each numbered message exactly once, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from atf.market.bars import Timeframe
from atf.trading.order import BotId, ClientOrderId, OrderStatus, OrderTerms

Candle = tuple[float, float, float, float, float]
"""Open, high, low, close, volume."""
MOST_ORDERS: Final = 1000
"""Orders of one answer, whatever a bot is configured to: what asks for more is not even read."""
MOST: Final = "most"
"""How a field's metadata says how many entries it may have."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A series that the strategy sees as one of its datas.

    ``resampled``: further datas made of it, after all feeds, in the order of the feeds.
    ``history``: closed bars (open time, candle), oldest first, that warm the indicators up.
    """

    symbol: str
    timeframe: Timeframe
    history: Sequence[tuple[datetime, Candle]] = ()
    resampled: tuple[Timeframe, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldPosition:
    """What the bot holds of a symbol; ``quantity`` below zero if short.

    ``fees``: what entering it has cost, so that the trade which it belongs to ends with the right profit.
    """

    symbol: str
    quantity: Decimal
    price: Decimal
    fees: Decimal = Decimal(0)
    opened_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order of the strategy's that is still at work, as it stood when the process was started."""

    ref: int
    client_order_id: ClientOrderId
    terms: OrderTerms
    status: OrderStatus
    filled_quantity: Decimal
    average_price: Decimal | None
    oco_ref: int | None = None
    parent_ref: int | None = None
    fees: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Start:
    """The first message after ``Past``: everything that the bot begins with. Answered by ``Ready`` or ``Failed``.

    ``strategy``: a built-in one's name, or ``FILE.py:CLASS``, or ``module:CLASS``. ``config`` as the strategy may
    read it, with ``_recovered_positions`` and ``_recovered_trades``. ``fee_fraction`` of an order's value, as a
    forecast: what is charged comes with the fills. ``next_ref``: how the strategy's next order is called.
    ``most_orders``: so many it may make at one bar, and what it makes of the news of orders until the next.
    """

    bot_id: BotId
    name: str
    strategy: str
    params: Mapping[str, Any]
    feeds: Sequence[Feed]
    cash: Decimal
    fee_fraction: Decimal = Decimal(0)
    positions: Sequence[HeldPosition] = ()
    orders: Sequence[OpenOrder] = ()
    next_ref: int = 1
    most_orders: int = MOST_ORDERS
    state: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewBar:
    """The bars of all feeds that closed at one instant; a feed that has none is missing.

    ``open_time``: of the shortest bar among them; the longer ones opened earlier and closed together with it.
    ``is_history``: it came too late to act on; it advances the indicators, and neither ``next`` nor any
    ``notify_`` method is called for it. ``value``: cash and positions at these closes.
    """

    number: int
    open_time: datetime
    bars: Mapping[int, Candle]
    cash: Decimal
    value: Decimal
    is_history: bool = False


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """How one order stands now; ``price`` is the average of its fills, ``fees`` of all of them.

    ``last_quantity``, ``last_price``: the fill that this update is about, None if it is about none.
    ``lacks_cash``: it was rejected as cash or margin does not suffice, which strategies know as a status of its
    own. Whether a cancelled order has expired is seen from its ``valid_until``.
    """

    ref: int
    status: OrderStatus
    filled_quantity: Decimal
    price: Decimal | None
    fees: Decimal
    at: datetime
    last_quantity: Decimal | None = None
    last_price: Decimal | None = None
    reason: str | None = None
    lacks_cash: bool = False


@dataclass(frozen=True, slots=True)
class OrderUpdates:
    """What became of orders, committed before it is told; the strategy is notified at once."""

    number: int
    updates: Sequence[OrderUpdate]
    cash: Decimal


@dataclass(frozen=True, slots=True)
class Stop:
    """End: the strategy's ``stop`` is called, analyzers are read. Answered by ``Stopped``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Past:
    """Bars of the series with this index, before those that ``Start`` has of it; comes before ``Start``.

    A long history comes in many of them, oldest first, as writing a message holds up all other bots.
    """

    feed: int
    bars: Sequence[tuple[datetime, Candle]]


ToBot = Past | Start | NewBar | OrderUpdates | Stop


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order that the strategy wants; numbers as it gave them, not yet rounded to the venue's steps.

    ``oco_ref``, ``parent_ref``: the order of this strategy that it is tied to.
    """

    ref: int
    terms: OrderTerms
    oco_ref: int | None = None
    parent_ref: int | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """The strategy is built and warm; ``warm_at``: the open time of the last bar of history, None without any.

    ``minimum_period``: so many bars its indicators need; ``has_state``: it keeps a state of its own.
    """

    minimum_period: int
    warm_at: datetime | None
    has_state: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What the strategy wants after a ``NewBar`` or ``OrderUpdates`` of this number.

    ``state``: the strategy's own, None if it keeps none; committed together with the orders. ``refused``: how
    many orders more it has made than it may; they have ended where it runs.
    """

    number: int
    orders: Sequence[OrderRequest] = field(default=(), metadata={MOST: MOST_ORDERS})
    cancels: Sequence[int] = ()
    state: Mapping[str, Any] | None = None
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Each second while the process is idle or between bars: progress, not mere life.

    ``bar_at``: open time of the last bar that was processed. Units: ``cpu_seconds`` since the process began.
    """

    bar_at: datetime | None
    loop_at: datetime
    waiting: int
    memory_bytes: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """A line that the strategy printed or logged."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The strategy raised, or cannot be loaded: one sentence, and where; the process ends."""

    error: str
    trace: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The end, as it was asked for; ``analysis`` by analyzer, as far as it can be JSON."""

    analysis: Mapping[str, Any]


FromBot = Ready | Answer | Heartbeat | Said | Failed | Stopped
