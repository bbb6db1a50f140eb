"""How the installation stands, for the bot: what `atf status` reads, and what waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from atf.health.service_registry import RegisteredInstance, ReportedHealth
from atf.health.status import HealthStatus
from atf.storage.database import Database
from atf.storage.deliveries_repository import PostgresDeliveries
from atf.storage.health_repository import PostgresHeartbeats
from atf.storage.registry_repository import PostgresRegistry
from atf.storage.statistics_repository import count_open_runs
from atf.telegram.platform import Instance, PlatformState, Report


class StoredPlatform:
    """Reads it from the database; no process is asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def state(self) -> PlatformState:
        """Return how everything stands now."""
        instances = await PostgresRegistry(self._database).instances()
        services = {one.instance_id: one.service for one in instances}
        reports = await PostgresHeartbeats(self._database).reports()
        waiting, running = await count_open_runs(self._database)
        return PlatformState(
            [_instance(one) for one in instances],
            [_report(one, services) for one in reports],
            await PostgresDeliveries(self._database).statistics(None, 24),
            waiting,
            running,
        )


def _instance(found: RegisteredInstance) -> Instance:
    return Instance(
        found.service,
        found.host,
        found.pid,
        found.version,
        found.started_at,
        timedelta(seconds=found.age_seconds),
        found.is_stale,
    )


def _report(found: ReportedHealth, services: Mapping[str, str]) -> Report:
    return Report(
        found.system,
        found.component,
        found.status.value,
        found.status is HealthStatus.HEALTHY,
        found.error_message,
        services.get(found.component),
    )
