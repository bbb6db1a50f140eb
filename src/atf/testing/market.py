"""A market for tests: a provider that does what it is told, and a store of bars in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from atf.errors import NotFound
from atf.market.bar_store import NOTHING, PutAside
from atf.market.bars import Bars, Series, Timeframe
from atf.market.chains import Chains
from atf.market.continuous_calendars import RoundTheClock
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.provider import BarProvider, ProviderTraits
from atf.market.provider_lane import ProviderLane
from atf.market.rebasing import multiplied, rebased
from atf.market.remote_bars import CacheLimits
from atf.market.trading_calendar import TradingCalendar


class ScriptedProvider:
    """A provider on a network whose answers a test decides.

    ``bars`` are what it has of each series, unclosed ones included: like a lying one it gives all of them.
    ``error`` is raised instead of an answer. ``gate``: answers wait until it is set. ``asked`` notes each call.
    """

    def __init__(self, name: str = "scripted", *, traits: ProviderTraits | None = None) -> None:
        self.name = name
        self.traits = traits or ProviderTraits(calls_at_once=1000)
        self.bars: dict[Series, Bars] = {}
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[tuple[Series, datetime, int, datetime | None]] = []
        self.under_way = self.most_under_way = self.cancelled = 0
        self._changed = asyncio.Condition()

    async def until_under_way(self, calls: int) -> None:
        """Wait until so many calls are under way at once."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.under_way >= calls)

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Answer as told."""
        self.asked.append((series, until, count, since))
        await self._pass_gate()
        if series not in self.bars:
            raise NotFound(f"{self.name} has no {series}")
        return self.bars[series].since(since).last(count)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Whether bars of the series are held."""
        await self._pass_gate()
        return Series(symbol, timeframe) in self.bars

    async def symbols(self) -> Sequence[str]:
        """The symbols that are held."""
        await self._pass_gate()
        return sorted({series.symbol for series in self.bars})

    async def _pass_gate(self) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        async with self._changed:
            self._changed.notify_all()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        if self.error is not None:
            raise self.error


class MemoryBarStore:
    """A store of bars that ends with the test; ``reads`` counts the queries, ``writes`` what was stored when."""

    def __init__(self) -> None:
        self.bars: dict[Series, Bars] = {}
        self.put_aside: list[tuple[Series, PutAside]] = []
        self.reads = 0
        self.writes: list[tuple[Series, Bars, str]] = []

    async def closed_bars_of(self, wanted: Mapping[Series, int], until: datetime) -> dict[Series, Bars]:
        """Return the newest closed bars."""
        self.reads += 1
        held = {series: self.bars.get(series, Bars.empty()) for series in wanted}
        return {series: held[series].closed_at(until, series.timeframe).last(n) for series, n in wanted.items()}

    async def first_open(self, series: Series) -> datetime | None:
        """Return when the oldest bar opens."""
        bars = self.bars.get(series)
        return bars.time_at(0) if bars is not None and len(bars) else None

    async def ends(self, series: Series) -> tuple[datetime, datetime] | None:
        """Return when the oldest and the newest bar open."""
        bars = self.bars.get(series, Bars.empty())
        return (bars.time_at(0), bars.time_at(len(bars) - 1)) if len(bars) else None

    async def between(self, series: Series, since: datetime | None = None, until: datetime | None = None) -> Bars:
        """Return the bars of a stretch."""
        bars = self.bars.get(series, Bars.empty()).since(since)
        return bars if until is None else bars.before(until)

    async def symbols(self) -> Sequence[str]:
        """Return the stored symbols."""
        return sorted({series.symbol for series in self.bars})

    async def store(self, series: Series, bars: Bars, put_aside: PutAside = NOTHING, *, source: str = "") -> None:
        """Store bars in place of those of the same time."""
        self.writes.append((series, bars, source))
        if len(put_aside):
            self.put_aside.append((series, put_aside))
        self.bars[series] = self.bars.get(series, Bars.empty()).joined_with(bars)

    async def rebase(self, series: Series, bars: Bars, put_aside: PutAside, *, source: str) -> None:
        """Store bars that were fetched anew on another base, and bring the others to it."""
        held = self.bars.get(series, Bars.empty())
        first, last = bars.time_at(0), bars.time_at(-1)
        found = rebased(held.since(first)[: held.since(first).first_after(last)], bars)
        self.bars[series] = multiplied(held.before(first), found.older_factor).joined_with(held.since(first))
        await self.store(series, found.bars, put_aside, source=source)


class OneCalendar:
    """Every symbol has the same calendar."""

    def __init__(self, calendar: TradingCalendar | None = None) -> None:
        self.calendar = calendar or RoundTheClock()

    async def trading_calendar(self, name: str) -> TradingCalendar:  # noqa: ARG002
        """Return it."""
        return self.calendar


def open_market(
    *providers: BarProvider,
    store: MemoryBarStore | None = None,
    patience: timedelta = timedelta(seconds=30),
    ttl: timedelta = timedelta(seconds=60),
    calendar: TradingCalendar | None = None,
    monotonic: Callable[[], float] = lambda: 0.0,
) -> DataManager:
    """Return a DataManager over providers, on a market that never closes unless a calendar is given.

    ``monotonic`` is the clock of pauses and time-outs; by default it stands still.
    """
    return DataManager(
        Chains([ProviderLane(each, monotonic=monotonic, spread=lambda: 0.0) for each in providers]),
        store or MemoryBarStore(),
        DueBars(OneCalendar(calendar)),
        patience=patience,
        cache=CacheLimits(ttl),
        monotonic=monotonic,
    )
