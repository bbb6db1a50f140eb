"""What `atf status` reads; nothing is started for it."""

from __future__ import annotations

from atf.bootstrap.database import embedded_cluster, open_database
from atf.health.service_registry import PlatformStatus
from atf.settings import Settings
from atf.storage.health_repository import PostgresHeartbeats
from atf.storage.registry_repository import PostgresRegistry


async def read_status(settings: Settings) -> PlatformStatus:
    """Return what runs where. ATF's own database, if it is down, means that nothing runs.

    Errors: ConfigurationError, DatabaseUnavailable.
    """
    if settings.database_url is None and not embedded_cluster(settings).status().running:
        return PlatformStatus((), ())
    async with open_database(settings) as database:
        services = await PostgresRegistry(database).instances()
        return PlatformStatus(services, await PostgresHeartbeats(database).reports())
