"""Market time and market data of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from atf.adapters.providers.replay import ReplayBarProvider
from atf.bootstrap.providers import OpenProviders
from atf.clock import SystemClock
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.market_clock import LiveMarketClock, MarketClock, PacedMarketClock, ReplayMarketClock
from atf.market.provider_lane import ProviderLane
from atf.market.remote_bars import CacheLimits
from atf.settings import Settings
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.market_clock_repository import PostgresMarketClock

_BAR_BYTES: Final = 48


async def build_market_clock(database: Database) -> MarketClock:
    """Return the replay's time if this database has one, else the wall's."""
    store = PostgresMarketClock(database)
    position = await store.find()
    if position is None:
        return LiveMarketClock(SystemClock())
    if position.pace is not None:
        return PacedMarketClock(store, SystemClock(), position.pace)
    return ReplayMarketClock(store, SystemClock())


@asynccontextmanager
async def open_data_manager(
    database: Database,
    settings: Settings,
    clock: MarketClock,
    providers: OpenProviders,
    *,
    least_patience: timedelta = timedelta(0),
) -> AsyncIterator[DataManager]:
    """Open the bars of this installation; a replay has only what is stored.

    ``least_patience``: how long to wait for bars at least, whatever the settings allow.
    """
    store = PostgresBarStore(database)
    chains = (
        Chains([ProviderLane(ReplayBarProvider(store, providers.due))]) if clock.is_replay else providers.chains()
    )
    memory = settings.data_cache_mib * 2**20 // _BAR_BYTES
    manager = DataManager(
        chains,
        store,
        providers.due,
        patience=max(timedelta(seconds=settings.bars_patience_seconds), least_patience),
        cache=CacheLimits(timedelta(seconds=settings.data_cache_ttl_seconds), memory),
    )
    try:
        yield manager
    finally:
        await manager.close()
