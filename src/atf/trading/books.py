"""Books: where what bots do is stored, and what of it belongs together.

A ``BotChange`` is committed whole or not at all, and before anybody acts on it. Changes of many bots that come
together go into one transaction; one that cannot be stored fails alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from atf.errors import AtfError
from atf.notifications.message import OutgoingMessage
from atf.trading.book import BotBook
from atf.trading.fill import Fill
from atf.trading.order import BotId, ClientOrderId, Order
from atf.trading.position import HoldingChange


class BotTaken(AtfError):
    """Another trading service has this bot now: this one must not touch it any more."""


@dataclass(frozen=True, slots=True)
class BotEvent:
    """Something that happened to a bot, for people; ``kind`` is one word, such as started or reconciled."""

    kind: str
    text: str
    level: str = "info"
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BotChange:
    """What belongs together of one bot.

    ``book``: as it is after all of it; its ``revision`` is one more than that of the book before, so that a
    change that is committed twice is stored once, and one from a service that lost the bot is refused.
    ``new_orders``: written for the first time, whether they go out or were refused. ``orders``: as they are now.
    ``holdings``: in the order in which the fills made them. ``is_bar``: a bar is done, and how much the bot is
    worth is kept.
    """

    book: BotBook
    new_orders: Sequence[Order] = ()
    orders: Sequence[Order] = ()
    fills: Sequence[Fill] = ()
    holdings: Sequence[HoldingChange] = ()
    is_bar: bool = False
    events: Sequence[BotEvent] = ()
    messages: Sequence[OutgoingMessage] = ()


class Books(Protocol):
    """The books of all bots that one service runs."""

    async def open(self, bot_id: BotId, capital: Decimal) -> None:
        """Begin the book of a bot that has none, with its capital as cash."""
        ...

    async def load(self, bot_ids: Collection[BotId]) -> Mapping[BotId, BotBook]:
        """Return the books of bots, all of one instant; a bot without a book is missing."""
        ...

    async def commit(self, change: BotChange) -> None:
        """Store a change and return when it is committed; it waits for a database that is away.

        Errors: BotTaken; UnstorableData.
        """
        ...

    async def order(self, bot_id: BotId, client_order_id: ClientOrderId) -> Order | None:
        """Return an order of a bot, final ones too; None if there is none of this name."""
        ...

    async def has_fill(self, bot_id: BotId, venue_fill_id: str) -> bool:
        """Return whether a fill is booked."""
        ...
