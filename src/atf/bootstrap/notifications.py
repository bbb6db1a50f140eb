"""The notification process, wired."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from atf.adapters.channels.console import ConsoleChannel
from atf.adapters.channels.inbox import InboxChannel
from atf.bootstrap.database import open_database
from atf.bootstrap.health import MainService, with_health
from atf.jobs.lease import Lease
from atf.lifecycle import Progress, Service
from atf.notifications.background_service import BackgroundNotificationService, Channel, DeliveryPolicy
from atf.services.notifications.service import NotificationsService
from atf.settings import Settings
from atf.storage.listener import Listener, require_notifications
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.workers_repository import PostgresLeases


@asynccontextmanager
async def notifications_process(settings: Settings, progress: Progress) -> AsyncIterator[Service]:
    """Open everything the notification service needs; it is closed in reverse order."""
    async with open_database(settings) as database:
        await require_notifications(database.direct_url)
        outbox = PostgresOutbox(database)
        channels: list[Channel] = [ConsoleChannel(), InboxChannel(outbox)]
        lease = Lease(
            PostgresLeases(database),
            name="notifier",
            types=[f"channel:{channel.name}" for channel in channels],
            length=timedelta(seconds=settings.worker_lease_seconds),
        )
        listener = Listener(database.direct_url, ["atf_outbox"])
        await listener.start()
        try:
            background = BackgroundNotificationService(
                outbox, channels, lease, listener, policy=_policy(settings), progress=progress
            )
            main = MainService(
                NotificationsService(background, progress),
                "notification",
                progress,
                stalled_after_seconds=2 * settings.notification_timeout_seconds + 60,
                port="notifications_port",
            )
            async with with_health(settings, database, main) as service:
                yield service
        finally:
            await listener.stop()


def _policy(settings: Settings) -> DeliveryPolicy:
    return DeliveryPolicy(
        timeout=timedelta(seconds=settings.notification_timeout_seconds),
        retries=settings.notification_retries,
        batch_size=settings.notification_batch_size,
    )
