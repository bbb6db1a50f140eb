"""The process of the Telegram bot, wired: the bot, if there is a token, beside the notification service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from atf.bootstrap.accounts import build_accounts
from atf.bootstrap.channels import telegram_token
from atf.bootstrap.client import open_clients
from atf.bootstrap.database import open_database
from atf.bootstrap.health import MainService, with_health
from atf.bootstrap.notifications import NotifyParts, channel_parts, notify_parts, open_background_service
from atf.bootstrap.platform_state import StoredPlatform
from atf.health.status import Component, HealthStatus
from atf.lifecycle import Progress, Service
from atf.notifications.background_service import BackgroundNotificationService
from atf.security.identities_service import IdentitiesService
from atf.security.password import Passwords
from atf.services.telegram.bot_state import BotState, Standing
from atf.services.telegram.service import TelegramService
from atf.settings import Settings
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.database import Database
from atf.storage.identities_repository import PostgresIdentities
from atf.storage.maintenance_repository import PostgresMaintenance
from atf.storage.telegram_repository import (
    PostgresApplicants,
    PostgresConversations,
    PostgresMessageBox,
    PostgresPeople,
    PostgresUpdates,
)
from atf.telegram.command_desk import CommandDesk
from atf.telegram.commands import all_commands
from atf.telegram.house import House, ServicesOf
from atf.telegram.registration import Registration, RegistrationMode

if TYPE_CHECKING:
    from atf.services.telegram.telegram_bot import TelegramBot
    from atf.services.telegram.webhook import Webhook


@asynccontextmanager
async def telegram_process(settings: Settings, progress: Progress) -> AsyncIterator[Service]:
    """Open everything the process needs; it is closed in reverse order.

    Without a token, or with one that Telegram rejects, everything but the bot works.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        background = await stack.enter_async_context(open_background_service(settings, database, progress))
        notify = notify_parts(database)
        state, bot = BotState(), None
        token = await telegram_token(settings, database)
        if token is not None:
            bot = await stack.enter_async_context(
                _open_bot(settings, database, token, background, notify, state, progress)
            )
        main = MainService(
            TelegramService(background, bot),
            "telegram_bot",
            progress,
            stalled_after_seconds=2 * settings.notification_timeout_seconds + 60,
            port="notifications_port",
            parts=lambda: (_bot_part(state), *channel_parts(background)),
            sending=background.metrics,
            app=notify.application,
            endpoints=notify.endpoints,
        )
        yield await stack.enter_async_context(with_health(settings, database, main))


@asynccontextmanager
async def _open_bot(
    settings: Settings,
    database: Database,
    token: str,
    background: BackgroundNotificationService,
    notify: NotifyParts,
    state: BotState,
    progress: Progress,
) -> AsyncIterator[TelegramBot]:
    # Slow and heavy, and for this process alone.
    from atf.services.telegram.telegram_bot import TelegramBot
    from atf.services.telegram.transport import build_bot
    from atf.services.telegram.webhook import add_webhook_route

    async with open_clients(settings, database) as clients:
        registration = _registration(settings, database)
        desk = CommandDesk(
            build_house(database, clients, registration), all_commands(), may_register=registration.is_open
        )
        webhook = _webhook(settings, token)
        bot = TelegramBot(
            build_bot(token, settings.telegram_api_url),
            desk,
            PostgresUpdates(database),
            notification_service=background,
            fastapi_app=notify.app,
            state=state,
            progress=progress,
            groups=settings.telegram_groups,
            webhook=webhook,
        )
        if webhook is not None:
            add_webhook_route(notify.app, webhook, bot.take)
        try:
            yield bot
        finally:
            await bot.close()


def build_house(database: Database, services: ServicesOf, registration: Registration) -> House:
    """Return what the bot's commands are given."""
    return House(
        PostgresUpdates(database),
        PostgresConversations(database),
        PostgresPeople(database),
        registration,
        build_accounts(database, Passwords()),
        PostgresMessageBox(database),
        services,
        PostgresAuditLog(database),
        StoredPlatform(database),
        PostgresMaintenance(database),
    )


def _webhook(settings: Settings, token: str) -> Webhook | None:
    from atf.services.telegram.webhook import Webhook

    return None if settings.telegram_webhook_url is None else Webhook.of(settings.telegram_webhook_url, token)


def _registration(settings: Settings, database: Database) -> Registration:
    log = PostgresAuditLog(database)
    return Registration(
        RegistrationMode(settings.telegram_registration),
        PostgresApplicants(database),
        IdentitiesService(PostgresIdentities(database), log),
        PostgresMessageBox(database),
        log,
    )


def _bot_part(state: BotState) -> Component:
    is_well = state.standing in (Standing.NOT_CONFIGURED, Standing.STARTING, Standing.RUNNING)
    status = HealthStatus.HEALTHY if is_well else HealthStatus.DEGRADED
    return Component("bot", str(state.standing), status)
