"""StrategyInstance: one life of one bot, from the look at what it holds to its end.

::

    bars missed ─▶ orders looked up, positions compared ─▶ process, warm-up ─▶ running ─▶ stopped | failed
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from atf.clock import Clock
from atf.errors import AtfError, Conflict, TemporaryFailure
from atf.market.trading_calendar import TradingCalendar
from atf.notifications.message import OutgoingMessage, Priority
from atf.trading.bar_feed import BarFeed, ClosedBars, NoBars, Subscription
from atf.trading.base_trading_bot import BaseTradingBot, BotFailed
from atf.trading.book import BotBook
from atf.trading.books import Books, BotChange, BotEvent
from atf.trading.bot import Bot, TradingState
from atf.trading.bot_config import BotConfig
from atf.trading.bot_messages import Answer, OrderUpdate, Said, Start
from atf.trading.bot_process import BotProcesses, ProcessLimits
from atf.trading.broker import Broker, Instrument, VenueUnavailable
from atf.trading.first_message import first_message, tell_recovered, with_what_is_held
from atf.trading.order import BotId, Order
from atf.trading.order_cycle import OrderCycle, OrderDesk
from atf.trading.order_updates import update_of
from atf.trading.recovery import Recovery
from atf.trading.service_store import Beat, TradingStore, Vitals
from atf.trading.trading_hours import is_open

_LOGGER = logging.getLogger(__name__)
_TO_GET_READY: Final = timedelta(seconds=30)
_VENUE_PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
MIB: Final = 2**20
T = TypeVar("T")
_FULL: Final = 0.8
"""How much of the room that a process begins with it may use before a fresh one takes its place."""


class Recycle(AtfError):
    """The process has grown: a fresh one goes on where it was, which is no error."""


class OpensBrokers(Protocol):
    """Where brokers come from."""

    async def open(self, bot: Bot, config: BotConfig) -> Broker:
        """Return the broker of a bot. Errors: ConfigurationError, InvalidInput."""
        ...


@dataclass(frozen=True, slots=True)
class TradingHouse:
    """What all bots of a service share."""

    books: Books
    store: TradingStore
    processes: BotProcesses
    brokers: OpensBrokers
    feed: BarFeed
    clock: Clock
    installation: str
    say: Callable[[BotId, Said], None]
    calendar: Callable[[str], Awaitable[TradingCalendar]]
    strategy_target: Callable[[str], str]


class StrategyInstance:
    """A bot that lives: its book, its broker, its process."""

    def __init__(self, bot: Bot, config: BotConfig, house: TradingHouse, *, hands_state: bool = True) -> None:
        """``hands_state``: whether the strategy is told what its bot holds and what it kept of itself."""
        self.bot = bot
        self._hands_state = hands_state
        self._first_ref = 0
        self.config = config
        self.is_running = False
        self._house = house
        self._cycle: OrderCycle | None = None
        self._recovery: Recovery | None = None
        self._process: BaseTradingBot | None = None
        self._calendar: TradingCalendar | None = None
        self._subscription: Subscription | None = None
        self._progressed_at = house.clock.now()
        self._working_since: datetime | None = None
        """When it began with the bar that it is at."""
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, on_running: Callable[[], Awaitable[None]]) -> None:
        """Live until cancelled; a cancellation ends the strategy as it should be ended.

        Errors: BotFailed; Recycle; PositionMismatch; BotTaken; ConfigurationError, InvalidInput; what else went
        wrong as TemporaryFailure.
        """
        hours = self.config.hours
        if hours is not None and hours.calendar is not None:
            self._calendar = await self._house.calendar(hours.calendar)
        async with AsyncExitStack() as stack:
            broker = await self._reached(lambda: self._house.brokers.open(self.bot, self.config))
            stack.push_async_callback(broker.close)
            instruments = {
                one: await self._reached(partial(broker.instrument, one)) for one in self.config.symbols
            }
            subscription = self._subscription = await self._subscribe(stack)
            cycle = await self._open_cycle(broker, subscription, instruments)
            stack.push_async_callback(cycle.close)
            hearing = asyncio.create_task(self._hear_venue(broker, cycle))
            stack.callback(hearing.cancel)
            config = self.config
            self._recovery = Recovery(
                cycle, broker, self._house.clock, config.symbols, config.startup_position_policy
            )
            await self._reached(self._recovery.recover)
            process = await self._start_process(cycle, subscription)
            stack.push_async_callback(process.kill)
            self._house.feed.age(subscription)
            self.is_running = True
            await on_running()
            await self._live(process, cycle, subscription, broker, hearing)

    async def check_positions(self) -> None:
        """Compare books and venue.

        Errors: PositionMismatch; VenueUnavailable; Conflict if the bot does not run.
        """
        if self._recovery is None or not self.is_running:
            raise Conflict("the bot does not run yet")
        await self._recovery.check()

    def set_trading_state(self, state: TradingState) -> None:
        """Let the bot trade so from its next order on."""
        self.bot = replace(self.bot, trading_state=state)
        if self._cycle is not None and state is not TradingState.ACTIVE:
            self._cycle.trading_state = state  # more freedom waits for the next bar, which knows the hours

    def beat(self) -> Beat | None:
        """Return how the bot is; None before its book is open."""
        if self._cycle is None:
            return None
        book = self._cycle.book
        total = book.equity - self.config.capital
        return Beat(self.bot.id, self._last_progress(), book.cash, total, self._vitals(self._cycle))

    def _vitals(self, cycle: OrderCycle) -> Vitals:
        beat = None if self._process is None else self._process.heartbeat
        return Vitals(
            bar_at=cycle.book.last_bar_at,
            loop_at=None if beat is None else beat.loop_at,
            ack_at=cycle.tracker.answered_at,
            waiting=0 if self._subscription is None else self._subscription.queue.qsize(),
            memory_bytes=None if beat is None else beat.memory_bytes,
        )

    def _last_progress(self) -> datetime:
        """Return when it last got on: with a bar, or, if it has none, with its process's loop."""
        beat = None if self._process is None else self._process.heartbeat
        if self._working_since is not None:
            return self._working_since
        return self._progressed_at if beat is None else max(self._progressed_at, beat.loop_at)

    # --- the way up ---

    async def _subscribe(self, stack: AsyncExitStack) -> Subscription:
        house, config = self._house, self.config
        await house.books.open(self.bot.id, config.capital)
        book = (await house.books.load([self.bot.id]))[self.bot.id]
        stack.callback(house.feed.unsubscribe, self.bot.id)
        ask = partial(
            house.feed.subscribe,
            self.bot.id,
            config.symbols,
            config.timeframe,
            config.history_bars,
            book.last_bar_at,
        )
        return await self._reached(ask, "its bars", away=TemporaryFailure)

    async def _open_cycle(
        self, broker: Broker, subscription: Subscription, instruments: Mapping[str, Instrument]
    ) -> OrderCycle:
        house = self._house
        book = (await house.books.load([self.bot.id]))[self.bot.id]
        marks = {symbol: exact(rows[-1][1][3]) for symbol, rows in subscription.history.items() if rows}
        desk = OrderDesk(house.books, broker, house.clock, instruments, self.config.risk, house.installation)
        cycle = OrderCycle(replace(book, marks=marks), desk, self._tell, self.fail)
        cycle.trading_state = self.bot.trading_state
        if book.last_bar_at is None and subscription.given_until is not None:
            # From here on every bar is the bot's: one at which it is killed comes again.
            begun = subscription.given_until
            await cycle.keeper.commit(lambda book: BotChange(replace(book, last_bar_at=begun)))
        self._cycle = cycle
        return cycle

    async def _reached(
        self,
        ask: Callable[[], Awaitable[T]],
        whom: str = "its venue",
        *,
        away: type[TemporaryFailure] = VenueUnavailable,
    ) -> T:
        """Return what a venue, or who has the bars, answers, however long it takes until it does."""
        pauses = iter(_VENUE_PAUSES)
        while True:
            try:
                return await ask()
            except away as exc:
                _LOGGER.warning("bot %d waits for %s: %s", self.bot.id, whom, exc)
            await asyncio.sleep(next(pauses, _VENUE_PAUSES[-1]))

    async def _start_process(self, cycle: OrderCycle, subscription: Subscription) -> BaseTradingBot:
        given = self.config.limits
        limits = ProcessLimits(given.memory_mib * MIB, given.cpu_seconds_per_minute, given.processes)
        process = BaseTradingBot(
            await self._house.processes.spawn(self.bot.id, limits),
            self._take,
            lambda said: self._house.say(self.bot.id, said),
            self.config.limits.step,
        )
        try:
            async with cycle.keeper.standing_still() as book:  # what happens from here on is told to the process
                recovered = await self._house.store.recovered(self.bot.id)
                tell_recovered(self.bot, recovered, hands_state=self._hands_state)
                ended = await self._unheard(book)
                await process.begin(self._first_message(book, ended, subscription, recovered))
                self._process = process
                await self._tell([update_of(order, self._house.clock.now()) for order in ended], book)
            await process.until_ready(_TO_GET_READY)
        except BaseException:
            await process.kill()
            raise
        return process

    async def _unheard(self, book: BotBook) -> Sequence[Order]:
        """Return the orders that have ended without the strategy's hearing of it, oldest first."""
        found = [await self._house.books.order(book.bot_id, name) for name in book.unheard]
        return sorted((order for order in found if order is not None), key=lambda order: order.ref)

    def _first_message(
        self, book: BotBook, ended: Sequence[Order], subscription: Subscription, recovered: Mapping[str, Any]
    ) -> Start:
        target = self._house.strategy_target(self.config.strategy.name)
        start = first_message(self.bot, self.config, target, book, subscription.history)
        if self._hands_state:
            return with_what_is_held(start, book, ended, recovered)
        self._first_ref = book.next_ref
        return start

    # --- life ---

    async def _live(
        self,
        process: BaseTradingBot,
        cycle: OrderCycle,
        subscription: Subscription,
        broker: Broker,
        hearing: asyncio.Task[None],
    ) -> None:
        listening = asyncio.create_task(process.listen())
        trading = asyncio.create_task(self._trade(process, cycle, subscription, broker))
        tasks = {listening, trading, hearing}
        try:
            await asyncio.wait({*tasks, self._broken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.is_running = False
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            if not any(isinstance(one, BotFailed) for one in ended):
                await process.stop("the service stops it")
        self._raise_cause([*ended, self._broken.exception() if self._broken.done() else None])

    def _raise_cause(self, ended: Sequence[BaseException | None]) -> None:
        causes = [one for one in ended if one is not None and not isinstance(one, asyncio.CancelledError)]
        if causes:
            raise causes[0]
        raise TemporaryFailure("the bot's venue tells nothing any more")

    async def _trade(
        self, process: BaseTradingBot, cycle: OrderCycle, subscription: Subscription, broker: Broker
    ) -> None:
        while True:
            bars = await subscription.queue.get()
            if isinstance(bars, NoBars):
                await cycle.keeper.commit(partial(_without_bars, self.bot, bars))
                continue
            self._working_since = self._house.clock.now()
            await broker.told()  # what this bar has filled is booked before the strategy sees the bar
            await cycle.keeper.mark({symbol: exact(candle[3]) for symbol, candle in bars.bars.items()})
            cycle.trading_state = self._trading_state(bars)
            numbered = {self.config.symbols.index(symbol): candle for symbol, candle in bars.bars.items()}
            book = cycle.book
            await process.bar(bars.open_time, numbered, book.cash, book.equity, is_history=bars.is_late)
            self._progressed_at, self._working_since = self._house.clock.now(), None
            self._require_room(process)

    def _trading_state(self, bars: ClosedBars) -> TradingState:
        """Outside of its hours a bot may only go towards flat."""
        state, closes_at = self.bot.trading_state, bars.open_time + self.config.timeframe.length
        if state is TradingState.ACTIVE and not is_open(self.config.hours, closes_at, self._calendar):
            return TradingState.REDUCING
        return state

    def _require_room(self, process: BaseTradingBot) -> None:
        first, beat = process.first_heartbeat, process.heartbeat
        if first is None or beat is None:
            return
        room = self.config.limits.memory_mib * MIB - first.memory_bytes
        if beat.memory_bytes - first.memory_bytes > _FULL * room:
            raise Recycle(f"its process has {beat.memory_bytes // MIB} MiB")

    async def _take(self, answer: Answer, bar_at: datetime | None) -> None:
        cycle = self._require_cycle()
        at = bar_at or cycle.book.last_bar_at
        if at is not None:
            heard = 0 if self._process is None else self._process.heard
            await cycle.take(answer, at, is_bar=bar_at is not None, heard=heard)

    async def _tell(self, updates: Sequence[OrderUpdate], book: BotBook) -> None:
        known = [update for update in updates if update.ref >= self._first_ref]
        if self._process is not None and known:  # before that, it comes with the first message
            await self._process.tell(known, book.cash, book.revision)

    async def _hear_venue(self, broker: Broker, cycle: OrderCycle) -> None:
        """Take in what the venue tells; after a broken connection what was missed is asked for."""
        pauses = iter(_VENUE_PAUSES)
        asking: asyncio.Task[None] | None = None
        try:
            while True:
                try:
                    async for event in broker.events():
                        await cycle.tracker.on_event(event)
                        pauses = iter(_VENUE_PAUSES)
                except VenueUnavailable as exc:
                    _LOGGER.warning("bot %d: its venue tells nothing now: %s", self.bot.id, exc)
                await asyncio.sleep(next(pauses, _VENUE_PAUSES[-1]))
                if asking is not None:
                    asking.cancel()
                asking = asyncio.create_task(self._ask_what_was_missed(cycle))
                asking.add_done_callback(self._asked)
        finally:
            if asking is not None:
                asking.cancel()

    async def _ask_what_was_missed(self, cycle: OrderCycle) -> None:
        """Ask a moment after the venue is listened to again, so that nothing falls between, until it answers."""
        await asyncio.sleep(_VENUE_PAUSES[0])
        await self._reached(cycle.tracker.look_up)

    def _asked(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def _require_cycle(self) -> OrderCycle:
        if self._cycle is None:
            raise TemporaryFailure("the bot's book is not open yet")
        return self._cycle

    def fail(self, error: BaseException) -> None:
        """End this life, because of something that others have found out."""
        if not self._broken.done():
            self._broken.set_exception(error)


def _without_bars(bot: Bot, told: NoBars, book: BotBook) -> BotChange:
    text = f"{told.symbol} has no bars any more: {told.reason}"
    key = f"bot-{bot.id}-{book.revision}-no-bars"
    message = OutgoingMessage(
        bot.user_id, "bot", f"Bot {bot.name} waits for bars", text, key, None, Priority.HIGH
    )
    return BotChange(book, events=[BotEvent("bars", text, "warning")], messages=[message])


def exact(price: float) -> Decimal:
    """Return a price as it is written, not as the machine stores it."""
    return Decimal(repr(price))
