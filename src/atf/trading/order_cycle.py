"""OrderCycle: the way of one bot's orders, from what its strategy wants to what it holds.

::

    strategy ─▶ risk ─▶ order row ══commit══▶ broker ─▶ fill ─▶ position, trade, cash ══commit══▶ strategy

Nothing is sent before its row is committed, together with the strategy's state and the bar that it comes from;
the strategy is told nothing that is not committed. The way there is here, the way back in ``order_tracker.py``,
the book between them in ``book_keeper.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from atf.clock import Clock
from atf.pause_points import pause_point
from atf.trading.background_work import BackgroundWork
from atf.trading.book import BotBook, with_heard, with_orders
from atf.trading.book_keeper import BookKeeper, Tell, words_of
from atf.trading.books import Books, BotChange, BotEvent
from atf.trading.bot import TradingState
from atf.trading.bot_messages import Answer
from atf.trading.broker import Broker, Instrument, VenueOrder
from atf.trading.order import ClientOrderId, Order, OrderStatus, OrderTerms
from atf.trading.order_making import OrderMaker
from atf.trading.order_tracker import OrderTracker
from atf.trading.order_updates import refusal_of, update_of
from atf.trading.outcome_policy import Outcome, after_sending
from atf.trading.risk import RiskLimits

_TO_ARRIVE: Final = timedelta(seconds=5)


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
        self.trading_state = TradingState.ACTIVE
        self._work = BackgroundWork(on_failure)
        self.keeper: Final = BookKeeper(book, desk.books, desk.clock, tell)
        self.tracker: Final = OrderTracker(self.keeper, desk.broker, desk.clock, self._work)
        self._desk = desk
        self._maker = OrderMaker(desk.installation, desk.instruments, desk.limits)
        self._sends: set[asyncio.Task[None]] = set()

    @property
    def book(self) -> BotBook:
        """The book as it is committed now."""
        return self.keeper.book

    async def take(self, answer: Answer, bar_at: datetime, *, is_bar: bool, heard: int = 0) -> None:
        """Commit what the strategy wants after a bar or a notification, then send it.

        ``is_bar``: the bar itself is done, and its state is stored with its orders. ``heard``: the book's
        revision up to which the strategy knows what became of its orders.
        Errors: BotTaken; DatabaseUnavailable.
        """
        await pause_point("trading.before_intent")
        async with self.keeper.standing_still() as book:
            now = self._desk.clock.now()
            made = self._maker.make(book, answer, bar_at, self.trading_state, now)
            if made.is_nothing and not answer.refused and not is_bar:
                return
            change = BotChange(
                with_heard(_with_answer(made.book, answer), heard),
                new_orders=[*made.to_send, *made.refused],
                orders=made.cancels,
                is_bar=is_bar,
                events=_refusals(made.refused) + self._flood(len(made.beyond) + answer.refused),
            )
            self.tracker.sending |= {order.client_order_id for order in made.to_send}
            told = [update_of(order, now) for order in made.refused]
            told += [refusal_of(request, now) for request in made.beyond]
            await self.keeper.store(change, told=told)
        await pause_point("trading.after_intent")
        for chain in made.chains():
            self._start_sending(chain)
        for order in made.cancels:
            self.tracker.start_cancelling(order)

    def _flood(self, beyond: int) -> list[BotEvent]:
        """Say once how many orders there were too many: a row of each would be a flood of its own."""
        most = self._desk.limits.max_orders_per_bar
        text = f"{beyond} orders: a bar has {most} at most (risk.max_orders_per_bar)"
        return [BotEvent("refused", text, "warning")] if beyond else []

    async def send_own(self, terms: OrderTerms, *, why: str) -> None:
        """Send an order that the service itself makes, such as to close what a bot holds; no limit stops it."""
        async with self.keeper.standing_still() as book:
            order = self._maker.own(book, terms, self._desk.clock.now())
            after = with_orders(replace(book, order_number=order.number + 1), [order])
            event = BotEvent("order", f"{words_of(order)}: {why}", "warning")
            self.tracker.sending.add(order.client_order_id)
            await self.keeper.store(BotChange(after, new_orders=[order], events=[event]))
        self._start_sending([order])

    def _start_sending(self, chain: Sequence[Order]) -> None:
        task = self._work.start(self._send(chain))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _send(self, chain: Sequence[Order]) -> None:
        """Send orders that depend on each other, one after the other; what depends on a dead one is not sent."""
        for order in chain:
            parent = order.new.parent
            if parent is not None and parent in self._refused(chain):
                outcome = _ORPHAN
            else:
                outcome = after_sending(await self._submit(order))
                await pause_point("trading.after_send")
            self.tracker.sending.discard(order.client_order_id)
            await self.tracker.settle(order.client_order_id, outcome)
            await pause_point("trading.after_ack")

    async def _submit(self, order: Order) -> VenueOrder | Exception:
        try:
            acknowledged = await self._desk.broker.submit(order.new)
        except Exception as exc:  # noqa: BLE001 - whatever an adapter raises, the order may be at the venue
            return exc
        self.tracker.note_answer()
        return acknowledged

    def _refused(self, chain: Sequence[Order]) -> frozenset[ClientOrderId]:
        """Return those of a chain that have ended, or of which nobody knows whether they live."""
        mine = {order.client_order_id for order in chain}
        living = {o.client_order_id for o in self.book.orders.values() if o.status is not OrderStatus.UNKNOWN}
        return frozenset(mine - living)

    async def close(self) -> None:
        """Wait for what is on its way, but not for long: the next start may look it up before it arrives."""
        if self._sends:
            await asyncio.wait(self._sends, timeout=_TO_ARRIVE.total_seconds())
        await self._work.cancel()


_ORPHAN: Final = Outcome(OrderStatus.CANCELLED, "the order that it depends on did not go out")


def _with_answer(book: BotBook, answer: Answer) -> BotBook:
    """Return the book with what goes with the strategy's answer."""
    return replace(book, state=answer.state, highest_equity=max(book.highest_equity, book.equity))


def _refusals(refused: Sequence[Order]) -> list[BotEvent]:
    return [BotEvent("refused", f"{words_of(order)}: {order.reason}", "warning") for order in refused]
