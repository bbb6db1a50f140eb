"""The registry of running processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from atf.health.service_registry import RegisteredInstance, ServiceInstance
from atf.storage.database import Database

_REGISTER: Final = text(
    """
    INSERT INTO service_registry (instance_id, service, host, pid, version, endpoints)
    VALUES (:instance_id, :service, :host, :pid, :version, CAST(:endpoints AS jsonb))
    ON CONFLICT (instance_id) DO UPDATE SET last_seen_at = now(), endpoints = excluded.endpoints
    """
)
_REMOVE: Final = text("DELETE FROM service_registry WHERE instance_id = ANY(CAST(:ids AS text[]))")
_REMOVE_REPORTS: Final = text("DELETE FROM msg_system_health WHERE component = ANY(CAST(:ids AS text[]))")
_LIST: Final = text(
    """
    SELECT instance_id, service, host, pid, version, endpoints, started_at, last_seen_at,
           extract(epoch FROM now() - last_seen_at)::float8 AS age_seconds
    FROM service_registry ORDER BY service, started_at, instance_id
    """
)


class PostgresRegistry:
    """The table service_registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, instance: ServiceInstance) -> None:
        """Write the instance's row, or say that it has been seen."""
        values = {
            "instance_id": instance.instance_id,
            "service": instance.service,
            "host": instance.host,
            "pid": instance.pid,
            "version": instance.version,
            "endpoints": json.dumps(dict(instance.endpoints)),
        }
        async with self._database.transaction() as connection:
            await connection.execute(_REGISTER, values)

    async def remove(self, instance_ids: Sequence[str]) -> None:
        """Forget instances and what they reported."""
        values = {"ids": list(instance_ids)}
        async with self._database.transaction() as connection:
            await connection.execute(_REMOVE, values)
            await connection.execute(_REMOVE_REPORTS, values)

    async def instances(self) -> Sequence[RegisteredInstance]:
        """Return all instances by service and start."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_LIST)).all()
        return [RegisteredInstance(**row._mapping) for row in rows]
