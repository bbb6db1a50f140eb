"""Callers of the DataManager: one that asks again for what is held in memory, and many that all want the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Final

from atf.market.bar_store import NOTHING, PutAside
from atf.market.bars import Bars, Series
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.provider_lane import ProviderLane
from atf.storage.bars_repository import PostgresBarStore
from atf.testing.market import OneCalendar, ScriptedProvider
from benchmarks.bar_table import BarTable
from benchmarks.measure import BenchmarkError, Observation

_PATIENCE: Final = timedelta(seconds=120)
_CALLS: Final = 20
"""Warm calls in a round, of which the median counts."""


@dataclass
class CountingStore:
    """The store of a database; ``reads`` counts the queries for bars."""

    inner: PostgresBarStore
    reads: int = field(default=0, init=False)

    async def closed_bars_of(self, wanted: Mapping[Series, int], until: datetime) -> dict[Series, Bars]:
        """Count, and pass on."""
        self.reads += 1
        return await self.inner.closed_bars_of(wanted, until)

    async def first_open(self, series: Series) -> datetime | None:
        """Pass on."""
        return await self.inner.first_open(series)

    async def symbols(self) -> Sequence[str]:
        """Pass on."""
        return await self.inner.symbols()

    async def store(self, series: Series, bars: Bars, put_aside: PutAside = NOTHING, *, source: str = "") -> None:
        """Pass on."""
        await self.inner.store(series, bars, put_aside, source=source)

    async def rebase(self, series: Series, bars: Bars, put_aside: PutAside, *, source: str) -> None:
        """Pass on."""
        await self.inner.rebase(series, bars, put_aside, source=source)


@asynccontextmanager
async def _manager(provider: ScriptedProvider, store: CountingStore) -> AsyncIterator[DataManager]:
    manager = DataManager(Chains([ProviderLane(provider)]), store, DueBars(OneCalendar()), patience=_PATIENCE)
    try:
        yield manager
    finally:
        await manager.close()


async def ask_warm(
    table: BarTable, wanted: Mapping[Series, int], until: datetime, *, step: timedelta
) -> Observation:
    """Ask for all series again and again, each time ``step`` later, once they are held.

    Units:  milliseconds a call: of the processor, as nothing is waited for, and of the clock on the wall.
    Errors: BenchmarkError if the store or a provider was asked again.
    """
    provider, store = ScriptedProvider(), CountingStore(PostgresBarStore(table.database))
    async with _manager(provider, store) as manager:
        await manager.closed_bars_of(wanted, until=until)
        wall: list[float] = []
        processor: list[float] = []
        for number in range(1, _CALLS + 1):
            begin, used = time.perf_counter(), time.thread_time()
            found = await manager.closed_bars_of(wanted, until=until + number * step)
            processor.append((time.thread_time() - used) * 1000)
            wall.append((time.perf_counter() - begin) * 1000)
            _require_all(found.ready, wanted)
    if provider.asked or store.reads != 1:
        raise BenchmarkError(
            f"warm calls asked the provider {len(provider.asked)} times, the store {store.reads}"
        )
    return {"ms": median(processor), "wall_ms": median(wall)}


async def ask_together(
    table: BarTable, market: Mapping[Series, Bars], until: datetime, calls: Sequence[Mapping[Series, int]]
) -> Observation:
    """Let callers ask at once, each for its series; nothing is stored, and a provider has what ``market`` says.

    Units: seconds from the first question to the last answer; fetches of the provider, reads of the store.
    """
    await table.empty()
    provider, store = ScriptedProvider(), CountingStore(PostgresBarStore(table.database))
    provider.bars = dict(market)
    async with _manager(provider, store) as manager:
        begin = time.perf_counter()
        answers = await asyncio.gather(*(manager.closed_bars_of(wanted, until=until) for wanted in calls))
        seconds = time.perf_counter() - begin
    for answer, wanted in zip(answers, calls, strict=True):
        _require_all(answer.ready, wanted)
    return {"seconds": seconds, "fetches": len(provider.asked), "reads": store.reads}


class HangingProvider(ScriptedProvider):
    """Has all bars, and never answers for one series."""

    def __init__(self, bars: Mapping[Series, Bars], hangs: Series | None) -> None:
        super().__init__()
        self.bars = dict(bars)
        self._hangs = hangs

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Answer, or hang."""
        if series == self._hangs:
            await asyncio.Event().wait()
        return await super().closed_bars(series, until, count, since)


async def ask_beside_one_that_hangs(
    table: BarTable, market: Mapping[Series, Bars], until: datetime, hangs: Series | None
) -> Observation:
    """Ask in one call for all series, of which nothing is stored, one of them hanging if it is named.

    Units:  seconds until the call returns.
    Errors: BenchmarkError if any other series is missing.
    """
    await table.empty()
    store = CountingStore(PostgresBarStore(table.database))
    wanted = {series: len(bars) for series, bars in market.items()}
    async with _manager(HangingProvider(market, hangs), store) as manager:
        begin = time.perf_counter()
        found = await manager.closed_bars_of(wanted, until=until)
        seconds = time.perf_counter() - begin
    _require_all(found.ready, {series: count for series, count in wanted.items() if series != hangs})
    return {"seconds": seconds}


def _require_all(ready: Mapping[Series, Bars], wanted: Mapping[Series, int]) -> None:
    if {series: len(bars) for series, bars in ready.items()} != dict(wanted):
        raise BenchmarkError("an answer is incomplete")
