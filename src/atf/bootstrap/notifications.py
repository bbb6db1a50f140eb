"""The notification process, wired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI

from atf.bootstrap import rights
from atf.bootstrap.accounts import build_accounts
from atf.bootstrap.address_book import build_address_book
from atf.bootstrap.channels import build_channels, build_senders
from atf.bootstrap.database import open_database
from atf.bootstrap.health import MainService, with_health
from atf.clock import SystemClock
from atf.health.service_health import ServiceHealth
from atf.health.status import Component, HealthStatus
from atf.lifecycle import Progress, Service
from atf.notifications.background_service import BackgroundNotificationService
from atf.notifications.intake import Intake
from atf.notifications.letter_sender import Desk
from atf.notifications.letter_writer import LetterWriter
from atf.security.caller import Caller
from atf.security.gate import gated
from atf.security.password import Passwords
from atf.services.http.health_app import health_routes
from atf.services.notifications.access import NotifyAccess
from atf.services.notifications.history_routes import history_routes
from atf.services.notifications.notify_app import build_notify_app
from atf.services.notifications.service import NotificationsService
from atf.settings import Settings
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.database import Database
from atf.storage.deliveries_repository import PostgresDeliveries
from atf.storage.listener import Listener, require_notifications
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.replaying import is_replaying


@asynccontextmanager
async def notifications_process(settings: Settings, progress: Progress) -> AsyncIterator[Service]:
    """Open everything the notification service needs; it is closed in reverse order."""
    async with open_database(settings) as database, open_background_service(settings, database, progress) as own:
        notify = notify_parts(database)
        main = MainService(
            NotificationsService(own),
            "notification",
            progress,
            stalled_after_seconds=2 * settings.notification_timeout_seconds + 60,
            port="notifications_port",
            parts=lambda: channel_parts(own),
            sending=own.metrics,
            app=notify.application,
            endpoints=notify.endpoints,
        )
        async with with_health(settings, database, main) as service:
            yield service


@dataclass(frozen=True, slots=True)
class NotifyParts:
    """The HTTP application by which messages are handed over, and the paths that it answers."""

    app: FastAPI
    endpoints: tuple[str, ...] = ("/api/notify",)

    def application(self, health: ServiceHealth) -> FastAPI:
        """Return the application with what every process answers."""
        self.app.router.routes.extend(health_routes(health))
        return self.app


def notify_parts(database: Database) -> NotifyParts:
    """Return what takes messages in by HTTP, and tells what became of them."""
    access = NotifyAccess(build_accounts(database, Passwords()))
    app = build_notify_app(Intake(PostgresOutbox(database)), access)
    app.include_router(history_routes(access, partial(deliveries_of, database)))
    return NotifyParts(app)


def deliveries_of(database: Database, caller: Caller) -> PostgresDeliveries:
    """Return the history of messages as one caller may see it."""
    return gated(PostgresDeliveries(database), caller, rights.MESSAGES, PostgresAuditLog(database))


def channel_parts(background: BackgroundNotificationService) -> Sequence[Component]:
    """Return the channels that are out of order, as health shows them."""
    return [
        Component(f"channel_{name}", f"out of order since {figures.failures} tries", HealthStatus.DEGRADED)
        for name, figures in background.metrics.by_channel.items()
        if figures.failures
    ]


@asynccontextmanager
async def open_background_service(
    settings: Settings, database: Database, progress: Progress
) -> AsyncIterator[BackgroundNotificationService]:
    """Open the channels and who sends on them."""
    await require_notifications(database.direct_url)
    listener = Listener(database.direct_url, ["atf_outbox"])
    clock = None if await is_replaying(database) else SystemClock()
    outbox = PostgresOutbox(database)
    desk = Desk(outbox, build_address_book(settings, database), LetterWriter(settings.home / "templates"))
    channels = await build_channels(settings, database, clock)
    senders = build_senders(settings, database, channels, desk, listener, progress)
    await listener.start()
    try:
        yield BackgroundNotificationService(outbox, senders, desk.metrics, progress)
    finally:
        await listener.stop()
