"""OrderCycle: the way of one bot's orders, from what its strategy wants to what it holds.

::

    strategy ─▶ risk ─▶ order row ══commit══▶ broker ─▶ fill ─▶ position, trade, cash ══commit══▶ strategy

Nothing is sent before its row is committed, together with the strategy's state and the bar that it comes from;
the strategy is told nothing that is not committed. All changes of a bot's book go through one lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from atf.clock import Clock
from atf.errors import AtfError
from atf.pause_points import pause_point
from atf.trading.book import BotBook, as_revision, book_fill, settle, with_heard, with_orders
from atf.trading.books import Books, BotChange, BotEvent
from atf.trading.bot import TradingState
from atf.trading.bot_messages import Answer, OrderUpdate
from atf.trading.broker import Broker, Instrument, VenueEvent, VenueOrder, VenueUnavailable
from atf.trading.fill import Fill
from atf.trading.order import OWN_REF, ClientOrderId, Order, OrderStatus, OrderTerms
from atf.trading.order_making import OrderMaker
from atf.trading.order_updates import refusal_of, update_of
from atf.trading.outcome_policy import Outcome, after_looking_up, after_sending
from atf.trading.risk import RiskLimits

_LOGGER = logging.getLogger(__name__)
_FIRST_LOOK: Final = timedelta(seconds=0.2)
_LONGEST_LOOK: Final = timedelta(seconds=5)
_TO_ARRIVE: Final = timedelta(seconds=5)
_GRACE: Final = timedelta(seconds=1)
"""Fills that a venue counts in an order usually come by themselves a moment later."""

Tell = Callable[[Sequence[OrderUpdate], BotBook], Awaitable[None]]
"""Tells the strategy what became of its orders, and how its book is now."""


@dataclass(frozen=True, slots=True)
class OrderDesk:
    """What a bot's orders need: where they are stored, and where they go."""

    books: Books
    broker: Broker
    clock: Clock
    instruments: Mapping[str, Instrument]
    limits: RiskLimits
    installation: str


class OrderCycle:
    """One bot's orders and book, as long as its service runs it.

    ``tell`` is called with what is committed, in that order; ``on_failure`` if work in the background fails.
    """

    def __init__(
        self, book: BotBook, desk: OrderDesk, tell: Tell, on_failure: Callable[[BaseException], None]
    ) -> None:
        self.book = book
        self.trading_state = TradingState.ACTIVE
        self.ack_at: datetime | None = None
        """When the venue last answered or told something."""
        self._desk = desk
        self._tell = tell
        self._on_failure = on_failure
        self._maker = OrderMaker(desk.installation, desk.instruments, desk.limits)
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sends: set[asyncio.Task[None]] = set()
        self._looking_up: set[ClientOrderId] = set()
        self._cancelling: set[ClientOrderId] = set()
        self._sending: set[ClientOrderId] = set()
        """On their way: that the venue does not know them means nothing yet."""

    # --- the way there ---

    async def take(self, answer: Answer, bar_at: datetime, *, is_bar: bool, heard: int = 0) -> None:
        """Commit what the strategy wants after a bar or a notification, then send it.

        ``is_bar``: the bar itself is done, and its state is stored with its orders. ``heard``: the book's
        revision up to which the strategy knows what became of its orders.
        Errors: BotTaken; DatabaseUnavailable.
        """
        await pause_point("trading.before_intent")
        async with self._lock:
            now = self._desk.clock.now()
            made = self._maker.make(self.book, answer, bar_at, self.trading_state, now)
            if made.is_nothing and not answer.refused and not is_bar:
                return
            change = BotChange(
                with_heard(_with_answer(made.book, answer), heard),
                new_orders=[*made.to_send, *made.refused],
                orders=made.cancels,
                is_bar=is_bar,
                events=_refusals(made.refused) + self._flood(len(made.beyond) + answer.refused),
            )
            self._sending |= {order.client_order_id for order in made.to_send}
            told = [update_of(order, now) for order in made.refused]
            told += [refusal_of(request, now) for request in made.beyond]
            await self._commit(change, told=told)
        await pause_point("trading.after_intent")
        for chain in made.chains():
            self._start_sending(chain)
        for order in made.cancels:
            self._start_cancelling(order)

    def _flood(self, beyond: int) -> list[BotEvent]:
        """Say once how many orders there were too many: a row of each would be a flood of its own."""
        most = self._desk.limits.max_orders_per_bar
        text = f"{beyond} orders: a bar has {most} at most (risk.max_orders_per_bar)"
        return [BotEvent("refused", text, "warning")] if beyond else []

    async def send_own(self, terms: OrderTerms, *, why: str) -> None:
        """Send an order that the service itself makes, such as to close what a bot holds; no limit stops it."""
        async with self._lock:
            order = self._maker.own(self.book, terms, self._desk.clock.now())
            book = with_orders(replace(self.book, order_number=order.number + 1), [order])
            event = BotEvent("order", f"{_words(order)}: {why}", "warning")
            self._sending.add(order.client_order_id)
            await self._commit(BotChange(book, new_orders=[order], events=[event]))
        self._start_sending([order])

    async def cancel_all(self, symbol: str) -> None:
        """Ask the venue to cancel all open orders of a symbol, and return when none is left."""
        while orders := self.book.open_orders(symbol):
            for order in orders:
                await self._cancel_once(order)
                await self._look_up_soon([order])
            await asyncio.sleep(_FIRST_LOOK.total_seconds())

    def resume_cancelling(self) -> None:
        """Ask for all cancellations that are stored: nobody knows which of them a former life has sent."""
        for order in self.book.orders.values():
            if order.is_cancel_requested:
                self._start_cancelling(order)

    async def _send(self, chain: Sequence[Order]) -> None:
        """Send orders that depend on each other, one after the other; what depends on a dead one is not sent."""
        for order in chain:
            parent = order.new.parent
            if parent is not None and parent in self._refused(chain):
                outcome = _ORPHAN
            else:
                outcome = after_sending(await self._submit(order))
                await pause_point("trading.after_send")
            self._sending.discard(order.client_order_id)
            await self._settle(order.client_order_id, outcome)
            await pause_point("trading.after_ack")

    async def _submit(self, order: Order) -> VenueOrder | Exception:
        try:
            acknowledged = await self._desk.broker.submit(order.new)
            self.note_answer()
            return acknowledged
        except Exception as exc:  # noqa: BLE001 - whatever an adapter raises, the order may be at the venue
            return exc

    def _refused(self, chain: Sequence[Order]) -> frozenset[ClientOrderId]:
        """Return those of a chain that have ended, or of which nobody knows whether they live."""
        mine = {order.client_order_id for order in chain}
        living = {o.client_order_id for o in self.book.orders.values() if o.status is not OrderStatus.UNKNOWN}
        return frozenset(mine - living)

    def _start_cancelling(self, order: Order) -> None:
        if order.client_order_id not in self._cancelling:
            self._cancelling.add(order.client_order_id)
            self._start(self._cancel(order))

    async def _cancel(self, order: Order) -> None:
        """Ask for a cancellation until it is answered: sent again it is the same one, unlike an order."""
        delay = _FIRST_LOOK
        try:
            while not await self._cancel_once(order):
                await asyncio.sleep(delay.total_seconds())
                delay = min(2 * delay, _LONGEST_LOOK)
        finally:
            self._cancelling.discard(order.client_order_id)

    async def _cancel_once(self, order: Order) -> bool:
        """Ask for a cancellation; return whether it was answered, or there is nothing left to cancel."""
        name = order.client_order_id
        while name in self._sending:  # noqa: ASYNC110 - nobody cancels what has not arrived
            await asyncio.sleep(_FIRST_LOOK.total_seconds())
        if name not in self.book.orders:
            return True
        try:
            found = await self._desk.broker.cancel(name, order.terms.symbol)
        except (AtfError, OSError) as exc:
            # It may be cancelled or not, or be on its way still: the order itself tells.
            _LOGGER.warning("bot %d: the cancellation of %s has no answer: %s", self.book.bot_id, name, exc)
            self._watch(order)
            return False
        self.note_answer()
        await self._settle(name, Outcome(found.status, found.reason, found))
        return True

    # --- and back ---

    def note_answer(self) -> None:
        """Remember that the venue has answered now."""
        self.ack_at = self._desk.clock.now()

    async def on_event(self, event: VenueEvent) -> None:
        """Take in what the venue tells. Errors: BotTaken; DatabaseUnavailable."""
        self.note_answer()
        if isinstance(event, Fill):
            await self._book([event])
        else:
            await self._settle(event.client_order_id, Outcome(event.status, event.reason, event))

    async def _settle(self, name: ClientOrderId, outcome: Outcome) -> None:
        """Commit where an order is now, and see to it that all its fills are booked."""
        async with self._lock:
            order = self.book.orders.get(name)
            if order is None:
                return  # final, or not ours: what a venue says of it late changes nothing
            after = settle(order, outcome)
            if after != order:
                book = with_orders(self.book, [after])
                told = [] if after.status is OrderStatus.UNKNOWN else [update_of(after, self._desk.clock.now())]
                await self._commit(BotChange(book, orders=[after], events=_news_of(after)), told=told)
        if after.status is OrderStatus.UNKNOWN:
            self._watch(after)
        venue_order = outcome.venue_order
        if venue_order is not None and venue_order.filled_quantity > after.filled_quantity:
            self._start(self._fetch_fills(after, venue_order.filled_quantity))

    async def _book(self, fills: Iterable[Fill]) -> None:
        async with self._lock:
            for fill in fills:
                if fill.venue_fill_id in self.book.recent_fills:
                    continue
                order = await self._order_of(fill)
                if order is not None:
                    await self._book_one(order, fill)

    async def _book_one(self, order: Order, fill: Fill) -> None:
        booked = book_fill(self.book, order, fill)
        change = BotChange(booked.book, orders=[booked.order], fills=[fill], holdings=[booked.holding])
        await self._commit(change, told=[update_of(booked.order, fill.filled_at, fill)])
        is_whole = booked.order.status is OrderStatus.FILLED
        await pause_point("trading.after_fill" if is_whole else "trading.after_partial_fill")

    async def _order_of(self, fill: Fill) -> Order | None:
        """Return the order of a fill, a final one too; None if it is booked already, or is not this bot's."""
        order = self.book.orders.get(fill.client_order_id)
        if order is not None:
            return order
        if await self._desk.books.has_fill(self.book.bot_id, fill.venue_fill_id):
            return None
        return await self._desk.books.order(self.book.bot_id, fill.client_order_id)

    async def _fetch_fills(self, order: Order, counted: Decimal) -> None:
        """Ask for fills that the venue has counted, unless they come by themselves."""
        await asyncio.sleep(_GRACE.total_seconds())
        known, delay = self.book.orders.get(order.client_order_id), _FIRST_LOOK
        if known is not None and known.filled_quantity >= counted:
            return
        while True:
            try:
                fills = await self._desk.broker.fills_of(order.client_order_id, order.terms.symbol)
            except VenueUnavailable:
                await asyncio.sleep(delay.total_seconds())
                delay = min(2 * delay, _LONGEST_LOOK)
                continue
            await self._book(fills)
            return

    # --- what nobody knows ---

    async def look_up(self) -> None:
        """Ask the venue for every order that is not final, until each has a definite status; a start does this.

        Errors: VenueUnavailable if it does not answer now.
        """
        await self._look_up_soon(list(self.book.orders.values()))

    async def _look_up_soon(self, orders: Sequence[Order]) -> None:
        while orders := await self._look_up_once(orders):  # noqa: ASYNC110 - the venue does not tell when to ask
            await asyncio.sleep(_FIRST_LOOK.total_seconds())

    def _watch(self, order: Order) -> None:
        """Look an order up until it is known where it is."""
        if order.client_order_id not in self._looking_up:
            self._looking_up.add(order.client_order_id)
            self._start(self._look_up_forever(order))

    async def _look_up_forever(self, order: Order) -> None:
        delay = _FIRST_LOOK
        try:
            while True:
                await asyncio.sleep(delay.total_seconds())
                delay = min(2 * delay, _LONGEST_LOOK)
                try:
                    if not await self._look_up_once([order]):
                        return
                except VenueUnavailable as exc:
                    _LOGGER.info("order %s is not looked up yet: %s", order.client_order_id, exc)
        finally:
            self._looking_up.discard(order.client_order_id)

    async def _look_up_once(self, orders: Sequence[Order]) -> Sequence[Order]:
        """Take in what the venue says of orders; return those that are to be looked up again.

        Errors: VenueUnavailable.
        """
        # Of those on their way their own answers tell; they are looked up if none comes.
        asked = [order for order in orders if order.client_order_id not in self._sending]
        answers = await asyncio.gather(*map(self._ask, asked))
        # In the order of time: a way out that is booked before the way in would be a trade to the other side.
        await self._book(sorted((fill for _, fills in answers for fill in fills), key=lambda one: one.filled_at))
        again = []
        for order, (found, _) in zip(asked, answers, strict=True):
            outcome = after_looking_up(order, found, self._desk.clock.now(), self._desk.broker.visibility_delay)
            if outcome is not None:
                await self._settle(order.client_order_id, outcome)
            if outcome is None or (found is not None and self._booked_quantity(order) < found.filled_quantity):
                again.append(order)
        return again

    async def _ask(self, order: Order) -> tuple[VenueOrder | None, Sequence[Fill]]:
        """Return how an order stands at the venue, and its fills if not all of them are booked."""
        name, symbol, broker = order.client_order_id, order.terms.symbol, self._desk.broker
        found = await broker.order(name, symbol)
        self.note_answer()
        is_behind = found is not None and found.filled_quantity > order.filled_quantity
        return found, await broker.fills_of(name, symbol) if is_behind else ()

    def _booked_quantity(self, order: Order) -> Decimal:
        known = self.book.orders.get(order.client_order_id)
        return order.terms.quantity if known is None else known.filled_quantity

    # --- all of it ---

    async def commit(self, make: Callable[[BotBook], BotChange]) -> None:
        """Commit a change that does not come from an order, such as what a reconciliation adopts."""
        async with self._lock:
            await self._commit(make(self.book))

    @asynccontextmanager
    async def standing_still(self) -> AsyncIterator[BotBook]:
        """Let nothing change the book, nor anything be told, until the block ends."""
        async with self._lock:
            yield self.book

    async def mark(self, prices: Mapping[str, Decimal]) -> None:
        """Learn the last prices; they are not stored, as the bars are."""
        async with self._lock:
            self.book = replace(self.book, marks={**self.book.marks, **prices})

    async def close(self) -> None:
        """Wait for what is on its way, but not for long: the next start may look it up before it arrives."""
        if self._sends:
            await asyncio.wait(self._sends, timeout=_TO_ARRIVE.total_seconds())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _commit(self, change: BotChange, told: Sequence[OrderUpdate] = ()) -> None:
        changed = [*change.new_orders, *change.orders]
        numbered = replace(change, book=as_revision(change.book, self.book.revision + 1, changed))
        await self._desk.books.commit(numbered)
        self.book = numbered.book
        known = [update for update in told if update.ref != OWN_REF]
        if known:
            await self._tell(known, self.book)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _start_sending(self, chain: Sequence[Order]) -> None:
        task = self._start(self._send(chain))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)


_ORPHAN: Final = Outcome(OrderStatus.CANCELLED, "the order that it depends on did not go out")


def _with_answer(book: BotBook, answer: Answer) -> BotBook:
    """Return the book with what goes with the strategy's answer."""
    return replace(book, state=answer.state, highest_equity=max(book.highest_equity, book.equity))


def _refusals(refused: Sequence[Order]) -> list[BotEvent]:
    return [BotEvent("refused", f"{_words(order)}: {order.reason}", "warning") for order in refused]


def _news_of(order: Order) -> Sequence[BotEvent]:
    """Return what people should know of an order's status."""
    level = _LEVELS.get(order.status)
    text = f"{_words(order)} is {order.status}" + (f": {order.reason}" if order.reason else "")
    return [] if level is None else [BotEvent("order", text, level)]


_LEVELS: Final = {
    OrderStatus.REJECTED: "warning",
    OrderStatus.UNKNOWN: "warning",
    OrderStatus.LOST: "error",
}


def _words(order: Order) -> str:
    terms = order.terms
    return f"order {order.client_order_id} ({terms.type} {terms.side} {terms.quantity} {terms.symbol})"
