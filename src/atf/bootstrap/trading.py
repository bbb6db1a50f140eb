"""The trading process, wired."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from atf.adapters.bot_processes.bot_logs import BotLogs
from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.adapters.brokers.paper import PaperVenue
from atf.bootstrap.brokers import build_brokers
from atf.bootstrap.database import open_database
from atf.bootstrap.health import MainService, with_health
from atf.bootstrap.home_lock import only_one
from atf.bootstrap.market import build_market_clock, open_data_manager
from atf.bootstrap.providers import open_providers
from atf.clock import SystemClock
from atf.health.status import Component, HealthStatus
from atf.jobs.lease import Lease
from atf.jobs.run import WorkerId
from atf.lifecycle import Progress, Service
from atf.services.trading.runner import TradingServiceRunner
from atf.services.trading.service import TradingService
from atf.settings import Settings
from atf.storage.books_repository import PostgresBooks
from atf.storage.database import Database
from atf.storage.listener import Listener, require_notifications
from atf.storage.paper_repository import PostgresPaperStore
from atf.storage.trading_repository import PostgresTradingStore
from atf.storage.workers_repository import PostgresLeases
from atf.trading.bar_feed import BarFeed, SeenTime
from atf.trading.crash_marker import CrashMarker
from atf.trading.service_store import Session
from atf.trading.session_life import boot_id
from atf.trading.strategy_catalogue import StrategyCatalogue
from atf.trading.strategy_instance import TradingHouse
from atf.trading.strategy_manager import ManagerIntervals, StrategyManager

CHANNELS = ("atf_bots", "atf_clock")
"""What says that a bot has changed, and that a replay has moved."""


@dataclass(frozen=True, slots=True)
class TradingOptions:
    """What the command line says of one start; ``poll_interval`` in seconds, None: as the settings have it."""

    user_id: int | None = None
    poll_interval: float | None = None
    resume_mode: bool = True


def state_directory(settings: Settings) -> Path:
    """Return where the marker and the logs of bots are."""
    return settings.home / "state"


@asynccontextmanager
async def trading_process(
    settings: Settings, progress: Progress, options: TradingOptions | None = None
) -> AsyncIterator[Service]:
    """Open everything that bots need; it is closed in reverse order. Errors: Conflict if it runs here already."""
    options = options or TradingOptions()
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one(settings.home, "trading"))
        database = await stack.enter_async_context(open_database(settings))
        await require_notifications(database.direct_url)
        feed, house = await _open_house(settings, database, stack)
        managers: list[StrategyManager] = []

        async def open_runner(node: WorkerId) -> TradingServiceRunner:
            managers[:] = [_manager(settings, house, node, options)]
            return TradingServiceRunner(managers[0], options.user_id, options.resume_mode)

        main = MainService(
            TradingService(
                _lease(settings, database), feed, progress, open_runner, Listener(database.direct_url, CHANNELS)
            ),
            "trading_bot",
            progress,
            stalled_after_seconds=60,
            port="trading_port",
            parts=lambda: bot_parts(managers),
        )
        yield await stack.enter_async_context(with_health(settings, database, main))


async def _open_house(
    settings: Settings, database: Database, stack: AsyncExitStack
) -> tuple[BarFeed, TradingHouse]:
    providers = await stack.enter_async_context(open_providers(settings))
    clock = await build_market_clock(database)
    data = await stack.enter_async_context(open_data_manager(database, settings, clock, providers))
    seen = SeenTime(await clock.now())
    venue = PaperVenue(PostgresPaperStore(database), seen if clock.is_replay else SystemClock())
    store, feed = PostgresTradingStore(database), BarFeed(data, clock, venue, seen)
    house = TradingHouse(
        books=PostgresBooks(database, is_replay=clock.is_replay),
        store=store,
        processes=ForkedBots(),
        brokers=build_brokers(venue),
        feed=feed,
        clock=SystemClock(),
        installation=await store.installation(),
        say=stack.enter_context(BotLogs(state_directory(settings) / "bots")).say,
        calendar=providers.calendars.trading_calendar,
        strategy_target=StrategyCatalogue(settings.strategies_folder).resolve,
    )
    return feed, house


def _manager(settings: Settings, house: TradingHouse, node: WorkerId, options: TradingOptions) -> StrategyManager:
    session = Session(str(node), socket.gethostname(), os.getpid(), boot_id(), SystemClock().now())
    poll = settings.trading_poll_seconds if options.poll_interval is None else options.poll_interval
    intervals = ManagerIntervals(
        timedelta(seconds=settings.trading_heartbeat_seconds),
        timedelta(seconds=poll),
        timedelta(seconds=settings.trading_reconcile_seconds),
        timedelta(seconds=settings.trading_restart_seconds),
    )
    marker = CrashMarker.in_directory(state_directory(settings))
    return StrategyManager(house, session, marker, intervals)


def _lease(settings: Settings, database: Database) -> Lease:
    length = timedelta(seconds=settings.worker_lease_seconds)
    return Lease(PostgresLeases(database), name="trading", types=["trading"], length=length)


def bot_parts(managers: Sequence[StrategyManager]) -> Sequence[Component]:
    """Return how the bots are, as health shows it."""
    parts = []
    for manager in managers:
        running, wanted = manager.running, manager.wanted
        status = HealthStatus.HEALTHY if running == wanted else HealthStatus.DEGRADED
        parts.append(Component("bots", f"{running} of {wanted} running", status))
    return parts
