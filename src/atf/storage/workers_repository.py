"""Leases, and the rescue of what is held without one. The database's clock decides."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Final

from sqlalchemy import text

from atf.jobs.chores.rescuer import Rescued
from atf.jobs.lease import Holder
from atf.jobs.run import WorkerId
from atf.storage.database import Database
from atf.storage.ended_runs import BURIED, ENDED_ATTEMPT
from atf.storage.run_messages import ASKS_TO_TELL, tell_of_ended

_REGISTER: Final = text(
    """
    INSERT INTO workers (worker_id, name, host, pid, types, slots, lease_expires_at)
    VALUES (:worker_id, :name, :host, :pid, CAST(:types AS text[]), CAST(:slots AS jsonb),
            now() + CAST(:lease AS interval))
    ON CONFLICT (worker_id) DO UPDATE SET lease_expires_at = EXCLUDED.lease_expires_at
    """
)
_RENEW: Final = text(
    """
    UPDATE workers SET lease_expires_at = now() + CAST(:lease AS interval)
    WHERE worker_id = :worker_id AND lease_expires_at > now()
    """
)
_REMOVE: Final = text("DELETE FROM workers WHERE worker_id = :worker_id")

# Who has no name is no service but a program that claims by itself, whose lease may end in peace.
# A claim locks its worker's row FOR KEY SHARE, so a worker that is claiming at this moment is skipped here.
_FORGET_DEAD: Final = text(
    """
    WITH dead AS (
        DELETE FROM workers WHERE worker_id = ANY(ARRAY(
            SELECT worker_id FROM workers WHERE lease_expires_at <= now() FOR UPDATE SKIP LOCKED))
        RETURNING worker_id, name, host, pid, types, started_at)
    INSERT INTO workers_lost (worker_id, name, host, pid, types, started_at)
    SELECT worker_id, name, host, pid, types, started_at FROM dead d
    WHERE name <> '' OR EXISTS (
        SELECT FROM job_schedule_runs r WHERE r.status = 'RUNNING' AND r.worker_id = d.worker_id)
    ON CONFLICT DO NOTHING
    """
)
_LOST: Final = "COALESCE(r.worker_id, 'the worker') || ' died in attempt ' || r.attempt"
_RESCUE_RUNS: Final = text(
    f"""
    WITH orphans AS (
        SELECT retention_class, scheduled_for, id,
               CASE WHEN cancel_requested THEN 'CANCELLED' WHEN attempt < max_attempts THEN 'PENDING'
                    ELSE 'FAILED' END AS becomes
        FROM job_schedule_runs r
        WHERE status = 'RUNNING' AND NOT EXISTS (SELECT FROM workers w WHERE w.worker_id = r.worker_id)
        ORDER BY retention_class, scheduled_for, id
        LIMIT 10000 FOR NO KEY UPDATE SKIP LOCKED),
    ended AS (
        UPDATE job_schedule_runs r
        SET status = o.becomes,
            attempt = CASE WHEN o.becomes = 'PENDING' THEN r.attempt + 1 ELSE r.attempt END,
            finished_at = CASE WHEN o.becomes <> 'PENDING' THEN clock_timestamp() END,
            started_at = CASE WHEN o.becomes <> 'PENDING' THEN r.started_at END,
            deadline_at = NULL,
            error = 'WorkerLost: ' || {_LOST},
            error_details = jsonb_build_object('type', 'WorkerLost', 'message', {_LOST}),
            attempts = {
        ENDED_ATTEMPT.format(
            outcome="'worker_lost'",
            error=f"jsonb_build_object('type', 'WorkerLost', 'message', {_LOST})",
        )
    },
            worker_id = NULL,
            available_at = now(),
            sort_key = job_sort_key(now(), r.priority, 0)
        FROM orphans o
        WHERE r.retention_class = o.retention_class AND r.scheduled_for = o.scheduled_for AND r.id = o.id
        RETURNING r.*, 'worker_lost' AS reason),
    buried AS ({BURIED}),
    counted AS (
        UPDATE workers_lost l SET runs = l.runs + e.runs
        FROM (SELECT attempts -> -1 ->> 'worker_id' AS worker_id, count(*) AS runs FROM ended GROUP BY 1) e
        WHERE l.worker_id = e.worker_id)
    SELECT r.status, CASE WHEN r.status <> 'PENDING' AND {ASKS_TO_TELL} THEN r.run_id END AS told FROM ended r
    """
)
# However often its senders die, a delivery is not given up: a hundred are claimed together, and 99 are innocent.
# It keeps its place: else those behind it, which nobody had claimed, would go first.
_RESCUE_DELIVERIES: Final = text(
    """
    UPDATE msg_deliveries SET status = 'PENDING', sender_id = NULL
    WHERE id = ANY(ARRAY(
        SELECT id FROM msg_deliveries d
        WHERE status = 'SENDING' AND NOT EXISTS (SELECT FROM workers w WHERE w.worker_id = d.sender_id)
        LIMIT 10000 FOR UPDATE SKIP LOCKED))
    """
)


class PostgresLeases:
    """The workers table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, holder: Holder, lease: timedelta) -> None:
        """Write the row of a new holder; the same again when it is not known whether it was written."""
        values = {
            "worker_id": holder.worker_id,
            "name": holder.name,
            "host": holder.host,
            "pid": holder.pid,
            "types": list(holder.types),
            "slots": json.dumps(holder.slots),
            "lease": lease,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_REGISTER, values)

    async def renew(self, worker_id: WorkerId, lease: timedelta) -> bool:
        """Extend the lease; return False if it is over or has been taken away."""
        async with self._database.transaction() as connection:
            result = await connection.execute(_RENEW, {"worker_id": worker_id, "lease": lease})
        return result.rowcount == 1

    async def remove(self, worker_id: WorkerId) -> None:
        """Forget a holder."""
        async with self._database.transaction() as connection:
            await connection.execute(_REMOVE, {"worker_id": worker_id})

    async def rescue(self) -> Rescued:
        """Re-queue what is held without a live lease, and forget the dead lease rows."""
        async with self._database.transaction() as connection:
            await connection.execute(_FORGET_DEAD)
        async with self._database.transaction() as connection:
            runs = (await connection.execute(_RESCUE_RUNS)).all()
            deliveries = (await connection.execute(_RESCUE_DELIVERIES)).rowcount
            became = Counter(status for status, _ in runs)
            await tell_of_ended(connection, [run_id for _, run_id in runs if run_id is not None])
            if became["PENDING"]:
                await connection.execute(text("SELECT pg_notify('atf_runs', '')"))
            if became["FAILED"] or became["CANCELLED"]:  # a replay moves on when its runs have ended
                await connection.execute(text("SELECT pg_notify('atf_schedules', '')"))
            if deliveries:
                await connection.execute(text("SELECT pg_notify('atf_outbox', '')"))
        return Rescued(became["PENDING"], became["FAILED"], deliveries, became["CANCELLED"])
