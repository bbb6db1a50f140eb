"""Data-processing jobs, wired: the handler and its tools."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from atf.adapters.providers.bar_export import write_bars
from atf.adapters.providers.files import file_stem
from atf.adapters.providers.yahoo import YahooBarProvider
from atf.bootstrap.providers import OpenProviders
from atf.data_jobs.handler import DataProcessingHandler
from atf.data_jobs.symbol_work import Tools
from atf.errors import InvalidInput, shown
from atf.indicators.indicator_service import IndicatorService
from atf.market.bars import Bars, Series
from atf.market.download import Downloader
from atf.market.market_clock import MarketClock
from atf.security.inner_path import inner_path
from atf.settings import Settings
from atf.storage.adjustments_repository import PostgresAdjustments
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.run_steps_repository import PostgresRunSteps
from atf.storage.universes_repository import PostgresUniverses


def build_data_processing(
    settings: Settings, database: Database, clock: MarketClock, providers: OpenProviders
) -> DataProcessingHandler:
    """Return what does the runs of data-processing jobs."""
    return DataProcessingHandler(
        _Toolbox(settings, database, providers), PostgresUniverses(database), PostgresRunSteps(database), clock
    )


@dataclass(frozen=True, slots=True)
class FolderExporter:
    """Writes bars into files as the ``files`` provider reads them: ``<folder>/<timeframe>/<SYMBOL>.<format>``."""

    folder: Path

    async def export(self, series: Series, bars: Bars, file_format: str) -> str:
        """Write a whole file in place of an older one and return where it is.

        Errors: InvalidInput for a symbol that can be no file's name, and for a folder that leads elsewhere.
        """
        stem = file_stem(series.symbol)
        if stem is None:  # symbols of a universe may have been written past ATF, with SQL
            raise InvalidInput(f"{shown(series.symbol)} can be no name of a file")
        path = inner_path(self.folder, f"{series.timeframe}/{stem}.{file_format}")
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(write_bars, path, bars, series.symbol)
        return str(path)


class _Toolbox:
    """The tools of a run with the provider that it names."""

    def __init__(self, settings: Settings, database: Database, providers: OpenProviders) -> None:
        self._store = PostgresBarStore(database)
        self._adjustments = PostgresAdjustments(database)
        self._exporter = FolderExporter(settings.home / "exports")
        self._providers = providers

    def tools(self, data_source: str | None) -> Tools:
        """Return the tools with the provider of this name, or for stored bars alone."""
        lane = None if data_source is None else self._providers.lane(data_source)
        provider = None if data_source is None else self._providers.provider(data_source)
        return Tools(
            archive=self._store,
            adjustments=self._adjustments,
            exporter=self._exporter,
            due=self._providers.due,
            indicators=IndicatorService(),
            downloader=None if lane is None else Downloader(lane, self._store),
            actions=provider if isinstance(provider, YahooBarProvider) else None,
        )
