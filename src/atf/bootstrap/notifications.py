"""The notification process, wired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from atf.adapters.channels.bot import BotChannel
from atf.adapters.channels.console import ConsoleChannel
from atf.adapters.channels.inbox import InboxChannel
from atf.adapters.channels.webhook import WebhookChannel
from atf.bootstrap.database import open_database
from atf.bootstrap.health import MainService, with_health
from atf.bootstrap.outgoing import outgoing_addresses
from atf.clock import SystemClock
from atf.jobs.lease import Lease
from atf.lifecycle import Progress, Service
from atf.notifications.background_service import BackgroundNotificationService, Channel, DeliveryPolicy
from atf.services.notifications.service import NotificationsService
from atf.settings import Settings
from atf.storage.bot_commands_repository import PostgresBotCommands
from atf.storage.database import Database
from atf.storage.listener import Listener, require_notifications
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.replaying import is_replaying
from atf.storage.workers_repository import PostgresLeases

_WEBHOOK_LANES: Final = 4
"""So many webhooks may be slow at the same time before they hold up others."""


@asynccontextmanager
async def notifications_process(settings: Settings, progress: Progress) -> AsyncIterator[Service]:
    """Open everything the notification service needs; it is closed in reverse order.

    What goes to machines of others has loops of its own: one that hangs must not hold up people's messages, nor
    commands to bots.
    """
    async with open_database(settings) as database, _listeners(database) as (own, outside):
        clock = None if await is_replaying(database) else SystemClock()
        inbox, bot = InboxChannel(PostgresOutbox(database)), BotChannel(PostgresBotCommands(database), clock)
        webhook = WebhookChannel(
            clock,
            timeout=timedelta(seconds=settings.notification_timeout_seconds),
            allowed=outgoing_addresses(settings),
        )
        lanes = _Lanes(settings, database)
        loops = [
            lanes.open("notifier", [ConsoleChannel(), inbox, bot], own, progress),
            *(lanes.open("notifier-webhook", [webhook], outside, Progress(), 1) for _ in range(_WEBHOOK_LANES)),
        ]
        main = MainService(
            NotificationsService(loops, progress),
            "notification",
            progress,
            stalled_after_seconds=2 * settings.notification_timeout_seconds + 60,
            port="notifications_port",
        )
        async with with_health(settings, database, main) as service:
            yield service


@asynccontextmanager
async def _listeners(database: Database) -> AsyncIterator[tuple[Listener, Listener]]:
    await require_notifications(database.direct_url)
    own, outside = (Listener(database.direct_url, ["atf_outbox"]) for _ in range(2))
    await own.start()
    await outside.start()
    try:
        yield own, outside
    finally:
        await outside.stop()
        await own.stop()


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Makes loops of deliveries."""

    settings: Settings
    database: Database

    def open(
        self,
        name: str,
        channels: Sequence[Channel],
        listener: Listener,
        progress: Progress,
        batch_size: int | None = None,
    ) -> BackgroundNotificationService:
        """Return a loop that serves these channels under a lease of its own."""
        lease = Lease(
            PostgresLeases(self.database),
            name=name,
            types=[f"channel:{channel.name}" for channel in channels],
            length=timedelta(seconds=self.settings.worker_lease_seconds),
        )
        policy = DeliveryPolicy(
            timeout=timedelta(seconds=self.settings.notification_timeout_seconds),
            retries=self.settings.notification_retries,
            batch_size=batch_size or self.settings.notification_batch_size,
        )
        outbox = PostgresOutbox(self.database)
        return BackgroundNotificationService(outbox, channels, lease, listener, policy=policy, progress=progress)
