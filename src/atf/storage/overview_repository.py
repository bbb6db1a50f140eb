"""Workers, misfires and sets of symbols as people and programs look at them."""

from __future__ import annotations

from datetime import date
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.jobs.overview import MisfireRecord, WorkerRecord

_WORKERS: Final = text(
    """
    SELECT w.worker_id, w.name, w.host, w.pid, w.types, w.slots, w.started_at, w.lease_expires_at,
           w.lease_expires_at > now() AS is_alive,
           (SELECT count(*) FROM job_schedule_runs r
            WHERE r.status = 'RUNNING' AND r.worker_id = w.worker_id) AS running
    FROM workers w ORDER BY w.started_at, w.worker_id
    """
)
_MISFIRES: Final = text(
    """
    SELECT m.id, m.schedule_id, s.name AS schedule_name, m.count, m.first_at, m.last_at, m.reason, m.noticed_at
    FROM job_misfires m JOIN job_schedules s ON s.id = m.schedule_id
    WHERE s.user_id = :user_id AND (CAST(:schedule_id AS bigint) IS NULL OR m.schedule_id = :schedule_id)
    ORDER BY m.noticed_at DESC, m.id DESC LIMIT :limit
    """
)
_BELONGS_ON: Final = "user_id = 0 AND valid_from <= :day AND (valid_to IS NULL OR valid_to > :day)"
_SYMBOLS: Final = text(
    f"SELECT symbol FROM market_universes WHERE name = :name AND {_BELONGS_ON} ORDER BY symbol"
)
_SETS: Final = text(f"SELECT DISTINCT name FROM market_universes WHERE {_BELONGS_ON} ORDER BY name")


async def list_workers(connection: AsyncConnection) -> list[WorkerRecord]:
    """Return all holders of leases, oldest first."""
    return [WorkerRecord(**row._mapping) for row in await connection.execute(_WORKERS)]


async def list_misfires(
    connection: AsyncConnection, user_id: int, schedule_id: int | None, limit: int
) -> list[MisfireRecord]:
    """Return the misfires of a user's schedules, newest first."""
    values = {"user_id": user_id, "schedule_id": schedule_id, "limit": limit}
    return [MisfireRecord(**row._mapping) for row in await connection.execute(_MISFIRES, values)]


async def symbols_of_set(connection: AsyncConnection, name: str, day: date) -> list[str]:
    """Return the symbols that belong to a set on a day: from ``valid_from``, before ``valid_to``."""
    return list((await connection.execute(_SYMBOLS, {"name": name, "day": day})).scalars())


async def set_names(connection: AsyncConnection, day: date) -> list[str]:
    """Return the names of the sets that have symbols on a day."""
    return list((await connection.execute(_SETS, {"day": day})).scalars())
