"""BarFeed: closed bars for all bots, each asked for once however many bots want it.

Venues that match on bars see a bar before the strategies do, so that what it fills is booked before anybody
decides anything; where a bot wants it, they see bars that are still forming, too. A bar that comes too late to
act on advances indicators only. Series that were late are asked for apart, until they come in time again: the
others do not wait for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from atf.errors import AtfError
from atf.market.bars import Bars, Series, Timeframe
from atf.market.data_manager import DataManager
from atf.market.forming import FormingBar
from atf.market.market_clock import MarketClock
from atf.trading.bot_messages import Candle
from atf.trading.order import BotId
from atf.trading.paper.live import Look
from atf.trading.paper.marks import finest

_LOGGER = logging.getLogger(__name__)
_CATCH_UP: Final = 500
"""Bars that are asked for at most when some were missed; older ones belong into a history."""
_STRAGGLERS: Final = timedelta(seconds=2)
"""How long the bars of a bot's other symbols are waited for."""
_POLL: Final = timedelta(seconds=1)
_FRESHEST: Final = timedelta(minutes=1)
_AT_ONCE: Final = 250
"""Bars of a history that are worked on before others have their turn: a bot may want a hundred thousand."""


class SeenTime:
    """The market's time as it was last seen: in a replay the only time that orders can have."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """Return it."""
        return self.at


class MatchesOnBars(Protocol):
    """A venue of our own that fills orders from bars."""

    @property
    def live_symbols(self) -> frozenset[str]:
        """Those of which it wants to see bars that are still forming."""
        ...

    async def on_bars(self, bars: Mapping[Series, tuple[datetime, Candle]]) -> None:
        """Match what rests, and tell the brokers what was filled before this returns."""
        ...

    async def on_looks(self, looks: Sequence[Look]) -> None:
        """Match in the same way what has happened in bars since they were last looked at, one of a symbol."""
        ...


@dataclass(frozen=True, slots=True)
class ClosedBars:
    """The bars of one bot's symbols that opened at one instant; ``is_late``: not to be acted on."""

    open_time: datetime
    bars: Mapping[str, Candle]
    is_late: bool


@dataclass(frozen=True, slots=True)
class NoBars:
    """A symbol of one bot's has no bars any more, and why: told once, until it has some again."""

    symbol: str
    reason: str


@dataclass(slots=True, eq=False)
class Subscription:
    """What one bot gets: ``history`` first, then bars by ``queue``, without a gap between them."""

    bot_id: BotId
    symbols: Sequence[str]
    timeframe: Timeframe
    history: Mapping[str, Sequence[tuple[datetime, Candle]]]
    given_until: datetime | None
    queue: asyncio.Queue[ClosedBars | NoBars] = field(default_factory=asyncio.Queue)

    @property
    def series(self) -> Sequence[Series]:
        """What it is about."""
        return [Series(symbol, self.timeframe) for symbol in self.symbols]


class BarFeed:
    """Asks for new bars as they close, and hands them to venues and to bots."""

    def __init__(
        self,
        data: DataManager,
        clock: MarketClock,
        venue: MatchesOnBars,
        seen: SeenTime,
        *,
        poll: timedelta = _POLL,
    ) -> None:
        self._data = data
        self._clock = clock
        self._venue = venue
        self._seen = seen
        self._poll = poll
        self._subscriptions: dict[BotId, Subscription] = {}
        self._woken = asyncio.Event()
        self._handing_out = asyncio.Lock()
        self._late: frozenset[Series] = frozenset()
        self._unknown: frozenset[Series] = frozenset()
        self._asking_apart: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._unseen: set[Series] = set()

    async def subscribe(
        self, bot_id: BotId, symbols: Sequence[str], timeframe: Timeframe, count: int, done_until: datetime | None
    ) -> Subscription:
        """Return a subscription with ``count`` closed bars of each symbol as history.

        ``done_until``: open time of the last bar that the bot has done, None for one that begins. If the newest
        closed bar is newer and can still be acted on, it is left for the queue: the bot may have been killed
        before it.

        Errors: NotFound, TemporaryFailure of the data.
        """
        now = await self._clock.now()
        bars = {symbol: await self._history(symbol, timeframe, now, count + 1) for symbol in symbols}
        async with self._handing_out:
            now = self._seen.at = await self._clock.now()
            newest = max((rows[-1][0] for rows in bars.values() if rows), default=None)
            is_missed = newest is not None and done_until is not None and done_until < newest
            cut = newest if is_missed and newest is not None and not _is_late(newest, timeframe, now) else None
            history = {s: [r for r in rows if cut is None or r[0] < cut][-count:] for s, rows in bars.items()}
            if done_until is not None:  # what rests at a venue of our own lives on while nobody looks
                await self._match_missed(history, timeframe, done_until)
            given = max((rows[-1][0] for rows in history.values() if rows), default=done_until)
            made = Subscription(bot_id, symbols, timeframe, history, given)
            self._subscriptions[bot_id] = made
        self._woken.set()
        return made

    async def _history(
        self, symbol: str, timeframe: Timeframe, now: datetime, count: int
    ) -> list[tuple[datetime, Candle]]:
        bars = await self._data.closed_bars(symbol, timeframe, now, count)
        rows: list[tuple[datetime, Candle]] = []
        for begin in range(0, len(bars), _AT_ONCE):
            rows += _rows(bars, begin, begin + _AT_ONCE)
            await asyncio.sleep(0)
        return rows

    async def _match_missed(
        self, history: Mapping[str, Sequence[tuple[datetime, Candle]]], timeframe: Timeframe, since: datetime
    ) -> None:
        missed: dict[datetime, dict[Series, tuple[datetime, Candle]]] = defaultdict(dict)
        for symbol, rows in history.items():
            for at, candle in rows:
                if at > since:
                    missed[at][Series(symbol, timeframe)] = (at, candle)
        for _, bars in sorted(missed.items()):
            await self._venue.on_bars(bars)

    def age(self, subscription: Subscription) -> None:
        """Mark what has waited too long to be acted on in the queue of a bot that was coming up meanwhile."""
        queue, now = subscription.queue, self._seen.now()
        for told in [queue.get_nowait() for _ in range(queue.qsize())]:
            if isinstance(told, ClosedBars) and _is_late(told.open_time, subscription.timeframe, now):
                queue.put_nowait(replace(told, is_late=True))
            else:
                queue.put_nowait(told)

    def unsubscribe(self, bot_id: BotId) -> None:
        """Give a bot no more bars; harmless when repeated."""
        self._subscriptions.pop(bot_id, None)

    def wake(self) -> None:
        """Look for bars now: somebody says that time has moved."""
        self._woken.set()

    async def run(self, mark: Callable[[], None]) -> None:
        """Hand out bars until cancelled; ``mark`` is called each time it has looked for them."""
        try:
            while True:
                await self._round()
                mark()
                self._woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll.total_seconds()):
                        await self._woken.wait()
        finally:
            for task in (self._asking_apart, self._looking):
                if task is not None:
                    task.cancel()

    async def _round(self) -> None:
        try:
            now = self._seen.at = await self._clock.now()
        except (AtfError, OSError) as exc:
            _LOGGER.warning("nobody says what time it is in the market: %s", exc)
            return
        due = [one for one in self._subscriptions.values() if _may_have_new(one, now)]
        late = [one for one in due if not self._late.isdisjoint(one.series)]
        self._asking_apart = _going_on(self._asking_apart)
        if late and self._asking_apart is None:
            self._asking_apart = asyncio.create_task(self._bring(late, now))
        self._looking = _going_on(self._looking)
        if self._venue.live_symbols and self._looking is None:
            self._looking = asyncio.create_task(self._look(now))
        await self._bring([one for one in due if one not in late], now)

    async def _bring(self, due: Sequence[Subscription], now: datetime) -> None:
        """Ask for the bars of some bots and hand out what has come."""
        if not due:
            return
        missed = {series: _missed(one, now) for one in due for series in one.series}
        try:
            fetched = await self._data.closed_bars_of(missed, until=now)
            self._late = (self._late - missed.keys()) | fetched.late
            self._tell_unknown(due, fetched.unknown)
            self._unknown = (self._unknown - missed.keys()) | fetched.unknown.keys()
            rows = {series: dict(_rows(bars)) for series, bars in fetched.ready.items()}
            async with self._handing_out:
                for at in sorted({at for series in rows.values() for at in series}):
                    await self._hand_out(at, due, rows, now)
        except (AtfError, OSError) as exc:
            _LOGGER.warning("bars for bots are not there yet: %s", exc)

    def _tell_unknown(self, due: Sequence[Subscription], unknown: Mapping[Series, str]) -> None:
        for one in due:
            for series in one.series:
                if series in unknown and series not in self._unknown:
                    one.queue.put_nowait(NoBars(series.symbol, unknown[series]))

    async def _look(self, now: datetime) -> None:
        """Let the venue see how the bars are forming that bots wait to be filled by."""
        live = self._venue.live_symbols
        series = [one for bot in self._subscriptions.values() for one in bot.series if one.symbol in live]
        try:
            found = await self._data.forming_bars_of(finest(series), now=now)
            looks = [_look_at(one, forming) for one, forming in found.ready.items()]
            async with self._handing_out:
                await self._venue.on_looks(looks)
        except (AtfError, OSError) as exc:
            _LOGGER.warning("bars that are forming fill nothing now: %s", exc)
            return
        for one in found.absent.keys() - self._unseen:
            reason = found.absent[one]
            _LOGGER.warning("%s cannot be seen while it forms, and fills when it has closed: %s", one, reason)
        self._unseen = set(found.absent)

    async def _hand_out(
        self,
        at: datetime,
        due: Sequence[Subscription],
        rows: Mapping[Series, Mapping[datetime, Candle]],
        now: datetime,
    ) -> None:
        ready = [one for one in due if self._is_ready(one, at, rows, now)]
        wanted = {series for one in ready for series in one.series}
        bars = {series: (at, rows[series][at]) for series in wanted if at in rows.get(series, {})}
        if bars:
            await self._venue.on_bars(bars)
        for one in ready:
            mine = {series.symbol: bars[series][1] for series in one.series if series in bars}
            if mine:
                one.given_until = at
                one.queue.put_nowait(ClosedBars(at, mine, _is_late(at, one.timeframe, now)))

    def _is_ready(
        self,
        one: Subscription,
        at: datetime,
        rows: Mapping[Series, Mapping[datetime, Candle]],
        now: datetime,
    ) -> bool:
        """Whether a bot gets its bars of this instant now: all of them are there, or the others are late."""
        if one.given_until is not None and at <= one.given_until:
            return False
        has_all = all(at in rows.get(series, {}) for series in one.series)
        return has_all or now - (at + one.timeframe.length) > _STRAGGLERS


def _going_on(task: asyncio.Task[None] | None) -> asyncio.Task[None] | None:
    """Return work that is not done yet. Errors: what ended it."""
    if task is not None and task.done():
        task.result()
        return None
    return task


def _look_at(series: Series, forming: FormingBar) -> Look:
    ((open_time, candle),) = _rows(forming.bar)
    return Look(series, open_time, forming.seen_at, candle)


def _may_have_new(one: Subscription, now: datetime) -> bool:
    given = one.given_until
    return given is None or given + 2 * one.timeframe.length <= now


def _missed(one: Subscription, now: datetime) -> int:
    if one.given_until is None:
        return 1
    return min(_CATCH_UP, max(1, (now - one.given_until) // one.timeframe.length))


def _is_late(at: datetime, timeframe: Timeframe, now: datetime) -> bool:
    """Whether a bar closed so long ago that its prices are no reason to trade any more."""
    return now - (at + timeframe.length) > max(_FRESHEST, timeframe.length)


def _rows(bars: Bars, begin: int = 0, end: int | None = None) -> list[tuple[datetime, Candle]]:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    values = zip(*(column[begin:end].tolist() for column in columns), strict=True)
    return [(bars.time_at(index), candle) for index, candle in enumerate(values, begin)]
