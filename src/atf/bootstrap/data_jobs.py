"""Data-processing jobs, wired: the handler and what it opens for each run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.adapters.providers.bar_export import write_bars
from atf.adapters.providers.files import file_stem
from atf.bootstrap.providers import build_provider, calendar_overrides, opened
from atf.data_jobs.handler import DataProcessingHandler
from atf.data_jobs.symbol_work import ActionSource, Tools
from atf.indicators.indicator_service import IndicatorService
from atf.market.bars import Bars, Series
from atf.market.download import Downloader
from atf.market.due_bars import DueBars
from atf.market.market_clock import MarketClock
from atf.market.provider_lane import ProviderLane
from atf.settings import Settings
from atf.storage.adjustments_repository import PostgresAdjustments
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.run_steps_repository import PostgresRunSteps
from atf.storage.universes_repository import PostgresUniverses


def build_data_processing(settings: Settings, database: Database, clock: MarketClock) -> DataProcessingHandler:
    """Return what does the runs of data-processing jobs."""
    return DataProcessingHandler(
        _Toolbox(settings, database), PostgresUniverses(database), PostgresRunSteps(database), clock
    )


@dataclass(frozen=True, slots=True)
class FolderExporter:
    """Writes bars into files as the ``files`` provider reads them: ``<folder>/<timeframe>/<SYMBOL>.<format>``."""

    folder: Path

    async def export(self, series: Series, bars: Bars, file_format: str) -> str:
        """Write a whole file in place of an older one and return where it is."""
        path = self.folder / str(series.timeframe) / f"{file_stem(series.symbol)}.{file_format}"
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(write_bars, path, bars, series.symbol)
        return str(path)


class _Toolbox:
    """Opens a provider for each run, as a run may take long and name any."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._due = DueBars(ExchangeCalendars(), calendar_overrides(settings))

    @asynccontextmanager
    async def open(self, data_source: str | None) -> AsyncIterator[Tools]:
        """Open the tools of a run with the provider of this name."""
        store = PostgresBarStore(self._database)
        async with AsyncExitStack() as stack:
            provider = None if data_source is None else build_provider(data_source, self._settings)
            if provider is not None:
                await opened(provider, stack)
            yield Tools(
                archive=store,
                adjustments=PostgresAdjustments(self._database),
                exporter=FolderExporter(self._settings.home / "exports"),
                due=self._due,
                indicators=IndicatorService(),
                downloader=None if provider is None else Downloader(ProviderLane(provider), store),
                actions=cast("ActionSource", provider) if hasattr(provider, "actions") else None,
            )
