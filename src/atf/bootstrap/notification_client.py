"""How messages are handed over, wired: into the shared database, or by HTTP to who serves it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from atf.errors import AtfError, ConfigurationError
from atf.notifications.client import NotificationServiceClient
from atf.notifications.intake import Intake
from atf.settings import Settings
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.registry_repository import PostgresRegistry

_ENDPOINT: Final = "notify"


def database_client(database: Database) -> NotificationServiceClient:
    """Return a client that writes into the outbox of a database."""
    return NotificationServiceClient(Intake(PostgresOutbox(database)))


@asynccontextmanager
async def http_client(settings: Settings, database: Database | None) -> AsyncIterator[NotificationServiceClient]:
    """Open a client that goes by HTTP. Errors: ConfigurationError without a token."""
    if settings.notification_token is None:
        raise ConfigurationError(
            "ATF_NOTIFICATION_TOKEN: is needed to hand messages over by HTTP; "
            "`atf tokens add NAME --service --scopes notify` makes one"
        )
    # Slow to load, and few commands go this way.
    from atf.adapters.notify.http_transport import HttpTransport

    transport = HttpTransport(await notify_endpoint(settings, database), settings.notification_token)
    client = NotificationServiceClient(transport, close=transport.close)
    try:
        yield client
    finally:
        await client.close()


async def notify_endpoint(settings: Settings, database: Database | None) -> str:
    """Return where messages are taken: as the settings say, else who is registered now, else the usual place.

    Services listen on their own machine only, so that the address of one on another machine leads elsewhere here.
    """
    configured = settings.telegram_bot.notification_endpoint
    if database is None or "telegram_bot" in settings.model_fields_set:
        return configured
    try:
        instances = await PostgresRegistry(database).instances()
    except (AtfError, OSError):
        return configured
    host = socket.gethostname()
    found = (
        one.endpoints[_ENDPOINT]
        for one in instances
        if _ENDPOINT in one.endpoints and one.host == host and not one.is_stale
    )
    return next(found, configured)
