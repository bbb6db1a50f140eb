"""The paper venue: one object a process, which every bar goes through, and a broker for each account.

Money is made up, everything else is meant: what was acknowledged is stored, and answers may be lost on request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final
from weakref import WeakSet

from atf.adapters.brokers.event_stream import EventStream
from atf.adapters.brokers.paper_faults import FaultDice
from atf.clock import Clock
from atf.errors import DatabaseUnavailable, NotFound, TransactionConflict
from atf.gathering import Gathering
from atf.market.bars import Timeframe
from atf.trading.broker import (
    Instrument,
    OpenState,
    OrderRejected,
    OrderStatusUnknown,
    VenueEvent,
    VenueOrder,
    VenueUnavailable,
)
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder, OrderStatus
from atf.trading.paper.live import Look, piece_between
from atf.trading.paper.marks import SeriesBars
from atf.trading.paper.options import PaperFault, PaperOptions
from atf.trading.paper.store import AccountNews, PaperStore, Submission, Taken

_NO_TIME: Final = timedelta(0)
_LONGEST_GRACE: Final = timedelta(minutes=1)


def _grace_of(timeframe: Timeframe) -> timedelta:
    return min(_LONGEST_GRACE, timeframe.length / 10)


class PaperVenue:
    """All paper accounts of a process: orders that come together are stored together, bars match them all."""

    def __init__(self, store: PaperStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self._gathering: Gathering[Submission, Taken] = Gathering(store.submit)
        self._brokers: dict[str, set[PaperBroker]] = {}
        self._matched_until: dict[str, datetime] = {}
        self._grace: dict[str, timedelta] = {}
        self._looks: dict[str, Look] = {}

    @property
    def live_symbols(self) -> frozenset[str]:
        """Those whose bars are to be looked at while they form, as the bot of an account wants it."""
        return frozenset(
            symbol for brokers in self._brokers.values() for one in brokers for symbol in one.live_symbols
        )

    async def open(self, account: str, options: PaperOptions) -> PaperBroker:
        """Return a broker of an account, which is made with its first cash if it is not there.

        Errors: Conflict if another venue has an account of this name; VenueUnavailable.
        """
        with _asking():
            await self.store.open_account(account, options.rules, options.cash)
        broker = PaperBroker(self, account, options)
        self._brokers.setdefault(account, set()).add(broker)
        return broker

    async def on_bars(self, bars: SeriesBars) -> None:
        """Match bars that have closed, and tell the brokers what came of it.

        What another process has matched meanwhile is told here, too. A bar may come again: it changes nothing.
        Of one that was looked at while it formed only the rest is matched.
        """
        closed = [Look(series, at, at + series.timeframe.length, candle) for series, (at, candle) in bars.items()]
        await self.on_looks([look for look in closed if self._was_looked_at(look)])
        matched = await self.store.match(bars)
        self._grace |= {series.symbol: _grace_of(series.timeframe) for series in bars}
        self.tell(matched.news)
        times = {
            series.symbol: (open_time, open_time + series.timeframe.length)
            for series, (open_time, _) in bars.items()
        }
        await self._tell_of_others(matched.known, times)

    async def on_looks(self, looks: Sequence[Look]) -> None:
        """Match what has happened in bars since the last look, one of a symbol, as bars are matched."""
        made = {look: piece_between(self._looks.get(look.series.symbol), look) for look in looks}
        pieces = {look: piece for look, piece in made.items() if piece is not None}
        if not pieces:
            return
        matched = await self.store.match_pieces(list(pieces.values()))
        # A look that nothing could be made of is forgotten: what came since the one before is in the next piece.
        self._looks |= {look.series.symbol: look for look in pieces}
        self._grace |= {piece.symbol: _NO_TIME for piece in pieces.values()}
        self.tell(matched.news)
        times = {piece.symbol: (piece.opens_at, piece.closes_at) for piece in pieces.values()}
        await self._tell_of_others(matched.known, times)

    async def submit(self, account: str, order: NewOrder) -> VenueOrder:
        """Store an order together with those that come at the same time; return how it stands."""
        taken = await self._gathering.ask(Submission(account, order, self._time_at(order.terms.symbol)))
        if taken.is_new:
            self.tell([AccountNews(account, orders=[taken.order])])
        return taken.order

    async def cancel(self, account: str, client_order_id: ClientOrderId) -> VenueOrder:
        """Cancel an order; return how it stands. Errors: NotFound."""
        order, news = await self.store.cancel(account, client_order_id, self.clock.now())
        self.tell([news])
        return order

    def tell(self, news: Sequence[AccountNews]) -> None:
        """Push what happened to the brokers of the accounts."""
        for one in news:
            for broker in self._brokers.get(one.account, ()):
                broker.push(one.events)

    def forget(self, broker: PaperBroker) -> None:
        """Push nothing more to a broker."""
        brokers = self._brokers.get(broker.account, set())
        brokers.discard(broker)
        if not brokers:
            self._brokers.pop(broker.account, None)

    def _was_looked_at(self, look: Look) -> bool:
        before = self._looks.get(look.series.symbol)
        return before is not None and before.is_of_the_bar_of(look)

    def _time_at(self, symbol: str) -> datetime:
        """Return when an order of a symbol comes, by the venue's clock.

        What is decided on a bar's close is sent a moment later, when the next bar is open already: it counts as
        sent at the close, or it would have to wait for the bar after that.
        """
        now, closed_at = self.clock.now(), self._matched_until.get(symbol)
        is_prompt = closed_at is not None and closed_at <= now <= closed_at + self._grace.get(symbol, _NO_TIME)
        return closed_at if closed_at is not None and is_prompt else now

    async def _tell_of_others(
        self, known: Collection[str], times: Mapping[str, tuple[datetime, datetime]]
    ) -> None:
        """Tell what others have matched; ``times``: by symbol, from when to when the bars are."""
        begin = min(times.values(), default=(self.clock.now(),))[0]
        missed = [one for one in known if times[one][1] > self._matched_until.get(one, times[one][0])]
        self._matched_until |= {symbol: until for symbol, (_, until) in times.items()}
        if missed and self._brokers:
            self.tell(await self.store.news_since(list(self._brokers), missed, begin))


class PaperBroker:
    """One account at the paper venue, reached as badly as its options say."""

    def __init__(
        self,
        venue: PaperVenue,
        account: str,
        options: PaperOptions,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.account = account
        self.live_symbols: set[str] = set()
        """Those that the bot trades, if its orders are to be filled by bars that are still forming."""
        self._venue = venue
        self._is_live = options.is_live
        self._rules = options.rules
        self._faults = options.faults
        self._dice = FaultDice(options.faults)
        self._sleep = sleep
        self._streams: WeakSet[EventStream] = WeakSet()
        self._unreachable_until: datetime | None = None
        self._hidden: dict[ClientOrderId, datetime] = {}
        self._is_closed = False

    @property
    def visibility_delay(self) -> timedelta:
        """How long an order that was taken is denied."""
        return self._faults.visibility

    async def instrument(self, symbol: str) -> Instrument:
        """Return the account's rules: every symbol that bars come of is traded here."""
        await self._reach()
        if self._is_live:
            self.live_symbols.add(symbol)
        return self._rules.instrument(symbol)

    async def submit(self, order: NewOrder) -> VenueOrder:
        """Send an order once and return the acknowledgement."""
        await self._reach()
        name = order.client_order_id
        fault = self._before_sending(name)
        if fault is PaperFault.REJECT:
            raise OrderRejected("the venue refuses it, as it was told to")
        with _changing(name):
            taken = await self._venue.submit(self.account, order)
        if self._faults.visibility:
            self._hidden[name] = self._venue.clock.now() + self._faults.visibility
        if fault is PaperFault.TIMEOUT_AFTER:
            raise OrderStatusUnknown(f"no answer about the order {name}")
        if taken.status is OrderStatus.REJECTED:
            raise OrderRejected(taken.reason or "refused")
        return taken

    async def cancel(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder:  # noqa: ARG002 - the port's
        """Ask for a cancellation and return how the order stands then."""
        await self._reach()
        fault = self._before_sending(client_order_id)
        if self._denies(client_order_id):
            raise NotFound(f"the order {client_order_id} is not known")
        with _changing(client_order_id):
            if fault is PaperFault.REJECT:  # a venue refuses a cancellation of what it will not let go
                order = await self._venue.store.order(self.account, client_order_id)
            else:
                order = await self._venue.cancel(self.account, client_order_id)
        if fault is PaperFault.TIMEOUT_AFTER:
            raise OrderStatusUnknown(f"no answer about the cancellation of {client_order_id}")
        if order is None:
            raise NotFound(f"the order {client_order_id} is not known")
        return order

    async def order(self, client_order_id: ClientOrderId, symbol: str) -> VenueOrder | None:  # noqa: ARG002
        """Return how an order stands, None if the venue does not know it, or not yet."""
        await self._reach()
        if self._denies(client_order_id):
            return None
        with _asking():
            return await self._venue.store.order(self.account, client_order_id)

    async def fills_of(self, client_order_id: ClientOrderId, symbol: str) -> Sequence[Fill]:  # noqa: ARG002
        """Return all fills of an order so far."""
        await self._reach()
        if self._denies(client_order_id):
            return []
        with _asking():
            return await self._venue.store.fills_of(self.account, client_order_id)

    async def open_state(self) -> OpenState:
        """Return what the account holds."""
        await self._reach()
        with _asking():
            state = await self._venue.store.open_state(self.account, self._venue.clock.now())
        orders = [order for order in state.orders if not self._denies(order.client_order_id)]
        return OpenState(state.positions, orders, state.cash, state.at)

    def events(self) -> AsyncIterator[VenueEvent]:
        """Yield what the venue pushes from now on, until the broker is closed or the connection breaks."""
        stream = EventStream()
        if self._is_closed:
            stream.end()
        elif self._is_unreachable():
            stream.end(VenueUnavailable("the paper venue cannot be reached"))
        else:
            self._streams.add(stream)
        return stream

    async def told(self) -> None:
        """Return when all that was pushed has been taken in."""
        for stream in list(self._streams):
            await stream.taken()

    async def close(self) -> None:
        """End the events; orders stay as they are."""
        self._is_closed = True
        self._venue.forget(self)
        self._end_streams(None)

    def push(self, events: Sequence[VenueEvent]) -> None:
        """Pass on what happened to the account, or what of it arrives."""
        arriving = self._dice.of_events(events)
        for stream in self._streams:
            stream.put(arriving)

    def disconnect(self, duration: timedelta) -> None:
        """Break the connection for a while: events end, calls are refused before anything is sent."""
        self._unreachable_until = self._venue.clock.now() + duration
        self._end_streams(VenueUnavailable("the connection to the paper venue broke"))

    async def _reach(self) -> None:
        if self._faults.answer:
            await self._sleep(self._faults.answer.total_seconds())
        if self._is_closed or self._is_unreachable():
            raise VenueUnavailable("the paper venue cannot be reached")

    def _before_sending(self, name: ClientOrderId) -> PaperFault | None:
        """Return what is to go wrong after it was sent; raise what goes wrong before."""
        fault = self._dice.of_call()
        if fault is PaperFault.DISCONNECT:
            self.disconnect(self._faults.disconnect)
            raise VenueUnavailable("the connection to the paper venue broke")
        if fault is PaperFault.TIMEOUT_BEFORE:
            raise OrderStatusUnknown(f"no answer about the order {name}")
        if fault is PaperFault.SERVER_ERROR:
            raise OrderStatusUnknown(f"the paper venue answers about {name} with an error of its own (HTTP 500)")
        return fault

    def _is_unreachable(self) -> bool:
        return self._unreachable_until is not None and self._venue.clock.now() < self._unreachable_until

    def _denies(self, name: ClientOrderId) -> bool:
        now = self._venue.clock.now()
        self._hidden = {one: until for one, until in self._hidden.items() if until > now}
        return name in self._hidden

    def _end_streams(self, failure: Exception | None) -> None:
        for stream in list(self._streams):
            stream.end(failure)
        self._streams.clear()


@contextmanager
def _changing(name: ClientOrderId) -> Iterator[None]:
    """While something is changed, a database that goes away may have done it or not."""
    try:
        yield
    except TransactionConflict as exc:
        raise VenueUnavailable("the paper venue's database undid the transaction; send it again") from exc
    except DatabaseUnavailable as exc:
        raise OrderStatusUnknown(f"the paper venue's database went away while {name} was changed") from exc


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except (DatabaseUnavailable, TransactionConflict) as exc:
        raise VenueUnavailable(f"the paper venue cannot be asked: {exc}") from exc
