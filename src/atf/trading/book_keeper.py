"""BookKeeper: one bot's book as its service keeps it; each change is committed, and told then.

All changes go through one lock, so that each is made of the book that the last one has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Final

from atf.clock import Clock
from atf.pause_points import pause_point
from atf.trading.book import BotBook, as_revision, book_fill, settle, with_orders
from atf.trading.books import Books, BotChange, BotEvent
from atf.trading.bot_messages import OrderUpdate
from atf.trading.fill import Fill
from atf.trading.order import OWN_REF, ClientOrderId, Order, OrderStatus
from atf.trading.order_updates import update_of
from atf.trading.outcome_policy import Outcome

Tell = Callable[[Sequence[OrderUpdate], BotBook], Awaitable[None]]
"""Tells the strategy what became of its orders, and how its book is now."""


class BookKeeper:
    """Keeps ``book``; ``tell`` is called with what is committed, in that order."""

    def __init__(self, book: BotBook, books: Books, clock: Clock, tell: Tell) -> None:
        self.book = book
        self._books = books
        self._clock = clock
        self._tell = tell
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def standing_still(self) -> AsyncIterator[BotBook]:
        """Let nothing else change the book, nor anything be told, until the block ends."""
        async with self._lock:
            yield self.book

    async def store(self, change: BotChange, told: Sequence[OrderUpdate] = ()) -> None:
        """Commit a change of the book that stands still, and tell what belongs to it.

        Errors: BotTaken; UnstorableData.
        """
        changed = [*change.new_orders, *change.orders]
        numbered = replace(change, book=as_revision(change.book, self.book.revision + 1, changed))
        await self._books.commit(numbered)
        self.book = numbered.book
        known = [update for update in told if update.ref != OWN_REF]
        if known:
            await self._tell(known, self.book)

    async def commit(self, make: Callable[[BotBook], BotChange]) -> None:
        """Commit a change that does not come from an order, such as what a reconciliation adopts."""
        async with self._lock:
            await self.store(make(self.book))

    async def mark(self, prices: Mapping[str, Decimal]) -> None:
        """Learn the last prices; they are not stored, as the bars are."""
        async with self._lock:
            self.book = replace(self.book, marks={**self.book.marks, **prices})

    async def settle(self, name: ClientOrderId, outcome: Outcome) -> Order | None:
        """Commit where an order is now, and return it so.

        None if it is final, or not of this bot: what a venue says of it late changes nothing.
        """
        async with self._lock:
            order = self.book.orders.get(name)
            if order is None:
                return None
            after = settle(order, outcome)
            if after != order:
                book = with_orders(self.book, [after])
                told = [] if after.status is OrderStatus.UNKNOWN else [update_of(after, self._clock.now())]
                await self.store(BotChange(book, orders=[after], events=_news_of(after)), told=told)
            return after

    async def book_fills(self, fills: Iterable[Fill]) -> None:
        """Book those that are not booked yet, each in a transaction of its own."""
        async with self._lock:
            for fill in fills:
                if fill.venue_fill_id in self.book.recent_fills:
                    continue
                order = await self._order_of(fill)
                if order is not None:
                    await self._book_one(order, fill)

    def booked_quantity(self, order: Order) -> Decimal:
        """Return how much of an order is filled by the book; all of it if the book has it no more."""
        known = self.book.orders.get(order.client_order_id)
        return order.terms.quantity if known is None else known.filled_quantity

    async def _book_one(self, order: Order, fill: Fill) -> None:
        booked = book_fill(self.book, order, fill)
        change = BotChange(booked.book, orders=[booked.order], fills=[fill], holdings=[booked.holding])
        await self.store(change, told=[update_of(booked.order, fill.filled_at, fill)])
        is_whole = booked.order.status is OrderStatus.FILLED
        await pause_point("trading.after_fill" if is_whole else "trading.after_partial_fill")

    async def _order_of(self, fill: Fill) -> Order | None:
        """Return the order of a fill, a final one too; None if it is booked already, or is not this bot's."""
        order = self.book.orders.get(fill.client_order_id)
        if order is not None:
            return order
        if await self._books.has_fill(self.book.bot_id, fill.venue_fill_id):
            return None
        return await self._books.order(self.book.bot_id, fill.client_order_id)


def words_of(order: Order) -> str:
    """Return an order as people read of it."""
    terms = order.terms
    return f"order {order.client_order_id} ({terms.type} {terms.side} {terms.quantity} {terms.symbol})"


def _news_of(order: Order) -> Sequence[BotEvent]:
    """Return what people should know of an order's status."""
    level = _LEVELS.get(order.status)
    text = f"{words_of(order)} is {order.status}" + (f": {order.reason}" if order.reason else "")
    return [] if level is None else [BotEvent("order", text, level)]


_LEVELS: Final = {
    OrderStatus.REJECTED: "warning",
    OrderStatus.UNKNOWN: "warning",
    OrderStatus.LOST: "error",
}
