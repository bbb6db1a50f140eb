"""OrderTracker: what becomes of orders that have been sent: what the venue tells, and what it must be asked.

An order whose fate nobody knows is looked up until it has a definite one; a cancellation is asked for until it is
answered; fills that the venue counts and that do not come by themselves are fetched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from atf.clock import Clock
from atf.errors import AtfError
from atf.trading.background_work import BackgroundWork
from atf.trading.book_keeper import BookKeeper
from atf.trading.broker import Broker, VenueEvent, VenueOrder, VenueUnavailable
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, Order, OrderStatus
from atf.trading.outcome_policy import Outcome, after_looking_up

_LOGGER = logging.getLogger(__name__)
_FIRST_LOOK: Final = timedelta(seconds=0.2)
_LONGEST_LOOK: Final = timedelta(seconds=5)
_GRACE: Final = timedelta(seconds=1)
"""Fills that a venue counts in an order usually come by themselves a moment later."""


class OrderTracker:
    """Brings the orders of one bot's book to where they are at its venue; what it begins goes on as ``work``."""

    def __init__(self, keeper: BookKeeper, broker: Broker, clock: Clock, work: BackgroundWork) -> None:
        self.sending: set[ClientOrderId] = set()
        """On their way: that the venue does not know them means nothing yet."""
        self.answered_at: datetime | None = None
        """When the venue last answered or told something."""
        self._keeper = keeper
        self._broker = broker
        self._clock = clock
        self._work = work
        self._looking_up: set[ClientOrderId] = set()
        self._cancelling: set[ClientOrderId] = set()

    def note_answer(self) -> None:
        """Remember that the venue has answered now."""
        self.answered_at = self._clock.now()

    # --- what the venue tells ---

    async def on_event(self, event: VenueEvent) -> None:
        """Take in what the venue tells. Errors: BotTaken; DatabaseUnavailable."""
        self.note_answer()
        if isinstance(event, Fill):
            await self._keeper.book_fills([event])
        else:
            await self.settle(event.client_order_id, Outcome(event.status, event.reason, event))

    async def settle(self, name: ClientOrderId, outcome: Outcome) -> None:
        """Commit where an order is now, and see to it that all its fills are booked."""
        after = await self._keeper.settle(name, outcome)
        if after is None:
            return
        if after.status is OrderStatus.UNKNOWN:
            self._watch(after)
        venue_order = outcome.venue_order
        if venue_order is not None and venue_order.filled_quantity > after.filled_quantity:
            self._work.start(self._fetch_fills(after, venue_order.filled_quantity))

    async def _fetch_fills(self, order: Order, counted: Decimal) -> None:
        """Ask for fills that the venue has counted, unless they come by themselves."""
        await asyncio.sleep(_GRACE.total_seconds())
        known, delay = self._keeper.book.orders.get(order.client_order_id), _FIRST_LOOK
        if known is not None and known.filled_quantity >= counted:
            return
        while True:
            try:
                fills = await self._broker.fills_of(order.client_order_id, order.terms.symbol)
            except VenueUnavailable:
                await asyncio.sleep(delay.total_seconds())
                delay = min(2 * delay, _LONGEST_LOOK)
                continue
            await self._keeper.book_fills(fills)
            return

    # --- what nobody knows ---

    async def look_up(self) -> None:
        """Ask the venue for every order that is not final, until each has a definite status; a start does this.

        Errors: VenueUnavailable if it does not answer now.
        """
        await self._look_up_soon(list(self._keeper.book.orders.values()))

    async def _look_up_soon(self, orders: Sequence[Order]) -> None:
        while orders := await self._look_up_once(orders):  # noqa: ASYNC110 - the venue does not tell when to ask
            await asyncio.sleep(_FIRST_LOOK.total_seconds())

    def _watch(self, order: Order) -> None:
        """Look an order up until it is known where it is."""
        if order.client_order_id not in self._looking_up:
            self._looking_up.add(order.client_order_id)
            self._work.start(self._look_up_forever(order))

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
        asked = [order for order in orders if order.client_order_id not in self.sending]
        answers = await asyncio.gather(*map(self._ask, asked))
        # In the order of time: a way out that is booked before the way in would be a trade to the other side.
        fills = sorted((fill for _, fills in answers for fill in fills), key=lambda one: one.filled_at)
        await self._keeper.book_fills(fills)
        again = []
        for order, (found, _) in zip(asked, answers, strict=True):
            outcome = after_looking_up(order, found, self._clock.now(), self._broker.visibility_delay)
            if outcome is not None:
                await self.settle(order.client_order_id, outcome)
            is_behind = found is not None and self._keeper.booked_quantity(order) < found.filled_quantity
            if outcome is None or is_behind:
                again.append(order)
        return again

    async def _ask(self, order: Order) -> tuple[VenueOrder | None, Sequence[Fill]]:
        """Return how an order stands at the venue, and its fills if not all of them are booked."""
        name, symbol = order.client_order_id, order.terms.symbol
        found = await self._broker.order(name, symbol)
        self.note_answer()
        is_behind = found is not None and found.filled_quantity > order.filled_quantity
        return found, await self._broker.fills_of(name, symbol) if is_behind else ()

    # --- what is to be cancelled ---

    def resume_cancelling(self) -> None:
        """Ask for all cancellations that are stored: nobody knows which of them a former life has sent."""
        for order in self._keeper.book.orders.values():
            if order.is_cancel_requested:
                self.start_cancelling(order)

    def start_cancelling(self, order: Order) -> None:
        """Ask for a cancellation until it is answered: sent again it is the same one, unlike an order."""
        if order.client_order_id not in self._cancelling:
            self._cancelling.add(order.client_order_id)
            self._work.start(self._cancel(order))

    async def cancel_all(self, symbol: str) -> None:
        """Ask the venue to cancel all open orders of a symbol, and return when none is left.

        Errors: VenueUnavailable if it does not say what became of them.
        """
        while orders := self._keeper.book.open_orders(symbol):
            for order in orders:
                await self._cancel_once(order)
                await self._look_up_soon([order])
            await asyncio.sleep(_FIRST_LOOK.total_seconds())

    async def _cancel(self, order: Order) -> None:
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
        while name in self.sending:  # noqa: ASYNC110 - nobody cancels what has not arrived
            await asyncio.sleep(_FIRST_LOOK.total_seconds())
        if name not in self._keeper.book.orders:
            return True
        try:
            found = await self._broker.cancel(name, order.terms.symbol)
        except (AtfError, OSError) as exc:
            # It may be cancelled or not, or be on its way still: the order itself tells.
            bot_id = self._keeper.book.bot_id
            _LOGGER.warning("bot %d: the cancellation of %s has no answer: %s", bot_id, name, exc)
            self._watch(order)
            return False
        self.note_answer()
        await self.settle(name, Outcome(found.status, found.reason, found))
        return True
