"""What the demo needs of storage: a database of its own that can be made anew, and a replay in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg

from atf.alerts.alerts_service import NewAlert
from atf.bootstrap.client import Client, open_client
from atf.bootstrap.database import embedded_cluster, open_database
from atf.market.bars import Bars, Series, Timeframe
from atf.market.market_clock import ReplayPosition
from atf.settings import Settings
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import database_errors, plain_url
from atf.storage.market_clock_repository import PostgresMarketClock
from atf.storage.migrate import upgrade
from atf.storage.replay_repository import NewestTrigger, PostgresReplayCounts, ReplayCounts
from atf.storage.schema_version import schema_version
from atf.trading.bot_store import NewBot

__all__ = ["NewestTrigger", "ReplayCounts", "find_replay", "open_counts", "prepare_replay"]

_DATABASE: Final = "atf"


@dataclass(frozen=True, slots=True)
class Replay:
    """What is replayed: bars, the first and the last instant, the alerts that watch, the bots that trade."""

    bars: Mapping[Series, Bars]
    timeframe: Timeframe
    begins_at: datetime
    ends_at: datetime
    alerts: Sequence[NewAlert]
    bots: Sequence[NewBot] = ()


async def find_replay(settings: Settings) -> ReplayPosition | None:
    """Return where this database's replay stands; None if there is none that could go on."""
    with embedded_cluster(settings).acquire() as handle:
        if not (await asyncio.to_thread(schema_version, handle.url())).is_current:
            return None
        async with open_database(settings) as database:
            return await PostgresMarketClock(database).find()


async def prepare_replay(settings: Settings, replay: Replay) -> str:
    """Make the demo's database anew and store the replay; its time stands still until all is stored.

    A replay whose preparation was cut short therefore counts as finished, and is prepared again. Returned is what
    its owner says to the Telegram bot, to be known by it.
    """
    with embedded_cluster(settings).acquire() as handle:
        await asyncio.to_thread(_make_anew, handle.url("postgres"))
        await asyncio.to_thread(upgrade, handle.url())
        async with open_database(settings) as database:
            clock = PostgresMarketClock(database)
            store = PostgresBarStore(database)
            for series, bars in replay.bars.items():
                await store.store(series, bars)
            await clock.begin(replay.timeframe, replay.begins_at)
            async with open_client(settings) as client:
                await _add_alerts(client, replay.alerts)
                await _add_bots(client, replay.bots)
                link = await client.credentials.make_account_link(client.user_id)
            await clock.run_until(replay.ends_at)
            return f"/start {link.token.text}"


@asynccontextmanager
async def open_counts(settings: Settings) -> AsyncIterator[PostgresReplayCounts]:
    """Open the view on the replay; the database is kept alive meanwhile."""
    async with open_database(settings) as database:
        yield PostgresReplayCounts(database)


async def _add_alerts(client: Client, alerts: Sequence[NewAlert]) -> None:
    for alert in alerts:
        await client.alerts.add(client.user_id, alert)


async def _add_bots(client: Client, bots: Sequence[NewBot]) -> None:
    for new in bots:
        bot = await client.bots.add(client.user_id, new)
        await client.bots.start(client.user_id, bot.id)


def _make_anew(admin_url: str) -> None:
    """Make the demo's database new; whoever still looks into the old one is cut off."""
    with database_errors(), psycopg.connect(plain_url(admin_url), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{_DATABASE}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{_DATABASE}"')
