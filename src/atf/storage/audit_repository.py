"""The audit log as SQL: entries are added and read, by nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.security.audit import AuditEntry, AuditEvent, AuditFilter, AuditOutcome
from atf.security.caller import Origin, Stranger, acting_caller
from atf.security.sealed_fields import masked
from atf.storage.database import Database

STRANGER: Final = "(stranger)"
"""Who is not known; no user can have a name like this."""
_RECORD: Final = text(
    """
    INSERT INTO audit_log (actor_id, actor, origin, address, action, object_type, object_id, owner_id, outcome,
                           detail)
    VALUES (:actor_id, :actor, :origin, :address, :action, :object_type, :object_id, :owner_id, :outcome, :detail)
    """
)
_ENTRIES: Final = text(
    """
    SELECT id, at, actor_id, actor, origin, address, action, object_type, object_id, owner_id, before, after,
           outcome, detail
    FROM audit_log
    WHERE (CAST(:actor AS text) IS NULL OR actor = :actor)
      AND (CAST(:action AS text) IS NULL OR action = :action OR starts_with(action, :action || '.'))
      AND (CAST(:object_type AS text) IS NULL OR object_type = :object_type)
      AND (CAST(:object_id AS text) IS NULL OR object_id = :object_id)
      AND (CAST(:outcome AS text) IS NULL OR outcome = :outcome)
      AND (CAST(:since AS timestamptz) IS NULL OR at >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR at < :until)
      AND (CAST(:before_id AS bigint) IS NULL OR id < :before_id)
    ORDER BY id DESC LIMIT :limit
    """
)


class PostgresAuditLog:
    """The audit log of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, event: AuditEvent) -> None:
        """Add an entry, in a transaction of its own."""
        async with self._database.transaction() as connection:
            await record(connection, event)

    async def entries(
        self, wanted: AuditFilter, *, limit: int, before_id: int | None = None
    ) -> Sequence[AuditEntry]:
        """Return entries, newest first: those with a smaller id than ``before_id``, if it is given."""
        values = {**asdict(wanted), "before_id": before_id, "limit": limit}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_ENTRIES, values)).all()
        return [_entry(row) for row in rows]


async def record(connection: AsyncConnection, event: AuditEvent) -> None:
    """Add an entry within somebody's transaction."""
    values = asdict(event)
    del values["stranger"]
    await connection.execute(_RECORD, {**values, **_actor(event.stranger)})


async def record_doing(
    connection: AsyncConnection, action: str, object_type: str, object_id: str, owner_id: int | None = None
) -> None:
    """Add what a caller does, within its transaction; what a service does by itself is in its own tables."""
    if acting_caller() is not None:
        await record(connection, AuditEvent(action, AuditOutcome.DONE, object_type, object_id, owner_id))


def _actor(stranger: Stranger | None) -> Mapping[str, Any]:
    caller = acting_caller()
    if caller is None and stranger is not None:
        return {"actor_id": None, "actor": STRANGER, "origin": stranger.origin, "address": stranger.address}
    if caller is None:
        return {"actor_id": None, "actor": "atf", "origin": Origin.SYSTEM, "address": None}
    return {
        "actor_id": caller.user_id,
        "actor": caller.name,
        "origin": caller.origin,
        "address": caller.address,
    }


def _entry(row: Row[Any]) -> AuditEntry:
    words = {"origin": Origin(row.origin), "outcome": AuditOutcome(row.outcome)}
    return AuditEntry(**{**row._mapping, **words, "before": masked(row.before), "after": masked(row.after)})
