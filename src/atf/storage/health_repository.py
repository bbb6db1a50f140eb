"""Heartbeats: the last one of every component."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from atf.health.heartbeat_manager import Heartbeat
from atf.health.service_registry import ReportedHealth
from atf.health.status import HealthStatus, reported_status
from atf.storage.database import Database
from atf.storage.stored_text import storable_text

_SAVE: Final = text(
    """
    INSERT INTO msg_system_health (system, component, status, response_time_ms, error_message, metadata)
    VALUES (:system, :component, :status, :response_time_ms, :error_message, CAST(:metadata AS jsonb))
    ON CONFLICT (system, component) DO UPDATE
    SET status = excluded.status, last_heartbeat = now(), response_time_ms = excluded.response_time_ms,
        error_message = excluded.error_message, metadata = excluded.metadata, updated_at = now()
    """
)
_LIST: Final = text(
    """
    SELECT system, component, status, last_heartbeat, response_time_ms, error_message, metadata,
           extract(epoch FROM now() - last_heartbeat)::float8 AS age_seconds,
           COALESCE((metadata ->> 'interval_seconds')::float8, 60) AS interval_seconds
    FROM msg_system_health ORDER BY system, component
    """
)


class PostgresHeartbeats:
    """The table msg_system_health."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, heartbeat: Heartbeat) -> None:
        """Replace the component's row; the interval goes into the metadata, so that readers know what is late."""
        outcome = heartbeat.outcome
        metadata = {**outcome.metadata, "interval_seconds": heartbeat.interval_seconds}
        values = {
            "system": heartbeat.system,
            "component": heartbeat.component,
            "status": outcome.status.value,
            "response_time_ms": outcome.response_time_ms,
            "error_message": None if outcome.error_message is None else storable_text(outcome.error_message),
            "metadata": json.dumps(metadata),
        }
        async with self._database.transaction() as connection:
            await connection.execute(_SAVE, values)

    async def reports(self) -> Sequence[ReportedHealth]:
        """Return what every component said last; a report that is too old counts as DOWN."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_LIST)).all()
        return [
            ReportedHealth(
                row.system,
                row.component,
                reported_status(HealthStatus(row.status), row.age_seconds, row.interval_seconds),
                row.last_heartbeat,
                row.response_time_ms,
                row.error_message,
                row.metadata,
            )
            for row in rows
        ]
