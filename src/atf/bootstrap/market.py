"""Market time and market data of a process."""

from __future__ import annotations

from datetime import timedelta

from atf.adapters.providers.files import FilesBarProvider
from atf.adapters.providers.replay import ReplayBarProvider
from atf.clock import SystemClock
from atf.market.data_manager import BarProvider, DataManager
from atf.market.market_clock import LiveMarketClock, MarketClock, ReplayMarketClock
from atf.settings import Settings
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.market_clock_repository import PostgresMarketClock


async def build_market_clock(database: Database) -> MarketClock:
    """Return the replay's time if this database has one, else the wall's."""
    store = PostgresMarketClock(database)
    if await store.find() is None:
        return LiveMarketClock(SystemClock())
    return ReplayMarketClock(store, SystemClock())


def build_data_manager(database: Database, settings: Settings) -> DataManager:
    """Return the bars of the database first, then those of files."""
    providers: list[BarProvider] = [
        ReplayBarProvider(PostgresBarStore(database)),
        FilesBarProvider(settings.data_files_folder),
    ]
    return DataManager(providers, patience=timedelta(seconds=settings.bars_patience_seconds))
