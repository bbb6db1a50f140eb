"""What the commands about market data need: the stored bars, calendars and adjustments of one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.adapters.charts.candles import draw_candles
from atf.adapters.providers.bar_export import write_bars
from atf.bootstrap.database import open_database
from atf.bootstrap.market import build_market_clock
from atf.bootstrap.providers import calendar_overrides
from atf.errors import NotFound
from atf.market.adjustment import adjusted, split_days
from atf.market.bars import Bars, Series
from atf.market.data_report import Circumstances, DataReport, report
from atf.market.due_bars import DueBars
from atf.market.gaps import Coverage, coverage
from atf.market.market_clock import MarketClock
from atf.market.stored_series import QuarantinedBar, StoredSpan
from atf.settings import Settings
from atf.storage.adjustments_repository import PostgresAdjustments
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.stored_series_repository import PostgresStoredSeries


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which stored bars: those that open at ``since`` or later and before ``until``, raw or adjusted."""

    series: Series
    since: datetime | None = None
    until: datetime | None = None
    is_adjusted: bool = False


@dataclass(frozen=True, slots=True)
class MarketClient:
    """Stored market data as commands see it."""

    database: Database
    settings: Settings
    clock: MarketClock
    store: PostgresBarStore
    stored: PostgresStoredSeries
    adjustments: PostgresAdjustments
    due: DueBars

    async def spans(self) -> Sequence[StoredSpan]:
        """Return how much is stored of each series."""
        return await self.stored.spans()

    async def quarantined(self, series: Series) -> Sequence[QuarantinedBar]:
        """Return the bars that were put aside."""
        return await self.stored.quarantined(series)

    async def newest(self, series: Series, count: int, *, is_adjusted: bool = False) -> Bars:
        """Return the newest stored bars that are closed. Errors: NotFound if there are none."""
        bars = await self.store.closed_bars(series, await self.clock.now(), count)
        return await self._finished(bars, Wanted(series, is_adjusted=is_adjusted))

    async def bars(self, wanted: Wanted) -> Bars:
        """Return stored bars. Errors: NotFound if there are none."""
        return await self._finished(await self._read(wanted), wanted)

    async def has_factors(self, symbol: str) -> bool:
        """Whether adjustment factors of a symbol are stored."""
        return bool(await self.adjustments.load(symbol))

    async def report(self, wanted: Wanted) -> DataReport:
        """Return what is there, missing and wrong of stored bars. Errors: NotFound if there are none."""
        bars = await self.bars(wanted)
        known = Circumstances(
            wanted.since,
            wanted.until,
            quarantined=_within(await self.quarantined(wanted.series), wanted),
            known_splits=split_days(await self.adjustments.load(wanted.series.symbol)),
        )
        calendar = await self.due.calendar_of(wanted.series.symbol)
        return report(wanted.series, bars, calendar, await self.clock.now(), known)

    async def gaps(self, wanted: Wanted) -> Coverage:
        """Return all gaps in stored bars. Errors: NotFound if there are none."""
        bars = await self.bars(wanted)
        calendar = await self.due.calendar_of(wanted.series.symbol)
        now = await self.clock.now()
        until = None if wanted.until is None else min(wanted.until, now)
        return coverage(bars, wanted.series.timeframe, calendar, since=wanted.since, until=until)

    async def export(self, wanted: Wanted, path: Path) -> int:
        """Write stored bars into a file and return how many. Errors: as ``bars`` and ``write_bars``."""
        bars = await self.bars(wanted)
        await asyncio.to_thread(write_bars, path, bars, wanted.series.symbol)
        return len(bars)

    async def _read(self, wanted: Wanted) -> Bars:
        return await self.store.between(wanted.series, wanted.since, wanted.until)

    async def _finished(self, bars: Bars, wanted: Wanted) -> Bars:
        if not len(bars):
            raise NotFound(f"no bars of {wanted.series} are stored{_part(wanted)}; see: atf data list")
        if not wanted.is_adjusted:
            return bars
        return adjusted(bars, await self.adjustments.load(wanted.series.symbol))


@asynccontextmanager
async def open_market_client(settings: Settings) -> AsyncIterator[MarketClient]:
    """Open the configured database and what reads market data from it."""
    async with open_database(settings) as database:
        yield MarketClient(
            database,
            settings,
            await build_market_clock(database),
            PostgresBarStore(database),
            PostgresStoredSeries(database),
            PostgresAdjustments(database),
            DueBars(ExchangeCalendars(), calendar_overrides(settings)),
        )


async def draw_chart(path: Path, bars: Bars, title: str) -> None:
    """Write a PNG of bars. Errors: as ``draw_candles``."""
    await asyncio.to_thread(draw_candles, path, bars, title)


def _within(bars: Sequence[QuarantinedBar], wanted: Wanted) -> int:
    return sum(
        (wanted.since is None or bar.open_time >= wanted.since)
        and (wanted.until is None or bar.open_time < wanted.until)
        for bar in bars
    )


def _part(wanted: Wanted) -> str:
    since = "" if wanted.since is None else f" since {wanted.since.isoformat()}"
    return since + ("" if wanted.until is None else f" until {wanted.until.isoformat()}")
