"""Runs as users and outside programs make and change them, one at a time."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import Conflict
from atf.jobs.claims_service import RunState
from atf.jobs.run import ClaimedRun, RunId, RunKey, RunRecord, RunStatus, WorkerId
from atf.jobs.run_request import NewRun, RunUpdate
from atf.storage.advisory_lock import CLAIM_LOCK
from atf.storage.partitions import make_missing, partitions_between
from atf.storage.run_messages import ASKS_TO_TELL, tell_of_ended
from atf.storage.run_queue import OWN_RUNTIME
from atf.storage.runs_repository import RECORD, record
from atf.storage.stored_document import snapshot_of
from atf.storage.stored_text import storable_text

_MOST_BEHIND: Final = 90_000
"""Positions that job_sort_key tells apart."""
_SHIFTS: Final = 1000

_INSTANT: Final = text("SELECT COALESCE(CAST(:scheduled_for AS timestamptz), clock_timestamp())")
# Counting is one range of a small index, as only ad-hoc runs that wait are in it.
_COUNT_WAITING: Final = text(
    """
    SELECT count(*) FROM (
        SELECT FROM job_schedule_runs
        WHERE user_id = :user_id AND (CAST(:job_type AS text) IS NULL OR job_type = :job_type)
          AND status = 'PENDING' AND job_id IS NULL
        LIMIT :most) AS waiting
    """
)
_ADD: Final = text(
    f"""
    INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, priority,
                                   max_attempts, job_snapshot, retry_of, available_at, sort_key)
    SELECT :job_type, :job_id, :user_id, :scheduled_for, :retention_class, :priority,
           :max_attempts, CAST(:snapshot AS jsonb), :retry_of, a.available_at,
           CASE WHEN a.available_at <= now() THEN job_sort_key(a.available_at, :priority, :position) END
    FROM (SELECT GREATEST(now(), CAST(:available_at AS timestamptz)) AS available_at) AS a
    ON CONFLICT DO NOTHING
    RETURNING {RECORD}
    """
)
_LOCK: Final = text(
    f"SELECT retention_class, scheduled_for, id, status, {ASKS_TO_TELL} AS asks FROM job_schedule_runs r "
    "WHERE run_id = :run_id AND user_id = :user_id FOR NO KEY UPDATE"
)
_KEY: Final = "retention_class = :retention_class AND scheduled_for = :scheduled_for AND id = :id"
_CANCEL: Final = text(f"UPDATE job_schedule_runs SET status = 'CANCELLED' WHERE {_KEY}")
_ASK_TO_STOP: Final = text(f"UPDATE job_schedule_runs SET cancel_requested = true WHERE {_KEY}")
_CANCEL_WAITING: Final = text(
    "UPDATE job_schedule_runs r SET status = 'CANCELLED' WHERE run_id = :run_id AND status = 'PENDING' "
    f"RETURNING retention_class, {ASKS_TO_TELL} AS asks"
)
_STATE: Final = text(
    """
    SELECT retention_class, scheduled_for, id, run_id, job_type, job_id, user_id, attempt, max_attempts,
           job_snapshot, status, worker_id
    FROM job_schedule_runs WHERE run_id = :run_id
    """
)
_KEEP_LEASE: Final = text(
    """
    INSERT INTO workers AS w (worker_id, host, pid, types, lease_expires_at)
    VALUES (:worker_id, :host, :pid, CAST(:types AS text[]), now() + CAST(:lease AS interval))
    ON CONFLICT (worker_id) DO UPDATE SET
        lease_expires_at = GREATEST(w.lease_expires_at, EXCLUDED.lease_expires_at),
        types = ARRAY(SELECT DISTINCT unnest(w.types || EXCLUDED.types))
    """
)
# The same lock under which the queue counts what runs of a schedule: both must not see the same room.
_ALONE: Final = text(f"SELECT pg_advisory_xact_lock({CLAIM_LOCK}, hashtext(:job_type))")
_TAKE: Final = text(
    f"""
    UPDATE job_schedule_runs r
    SET status = 'RUNNING', worker_id = :worker_id, started_at = clock_timestamp(), error = NULL,
        deadline_at = clock_timestamp() + make_interval(secs => COALESCE({OWN_RUNTIME}, :max_runtime))
    WHERE run_id = :run_id AND status = 'PENDING' AND available_at <= now()
      AND (job_id IS NULL OR job_type = 'alert' OR (
            SELECT count(*) FROM job_schedule_runs b
            WHERE b.status = 'RUNNING' AND b.job_type = r.job_type AND b.job_id = r.job_id)
          < COALESCE((SELECT max_instances FROM job_schedules s WHERE s.id = r.job_id), 1))
    RETURNING retention_class, scheduled_for, id, run_id, job_type, job_id, user_id, attempt, max_attempts,
              job_snapshot
    """
)
_ANNOTATE: Final = text(
    f"""
    UPDATE job_schedule_runs
    SET result = COALESCE(CAST(:result AS jsonb), result), error = COALESCE(:error, error),
        started_at = COALESCE(:started_at, started_at), finished_at = COALESCE(:finished_at, finished_at)
    WHERE run_id = :run_id
    RETURNING {RECORD}
    """
)
_WAKE_WORKERS: Final = text("SELECT pg_notify('atf_runs', '')")
_MOVE_REPLAY: Final = text("SELECT pg_notify('atf_schedules', '')")


async def add_run(connection: AsyncConnection, new: NewRun) -> RunRecord:
    """Store a run, in a leaf that is made if it is missing, and wake the workers.

    Two runs of a schedule cannot be scheduled for the same instant; the later one moves by a microsecond.
    """
    instant = (await connection.execute(_INSTANT, {"scheduled_for": new.scheduled_for})).scalar_one()
    await make_missing(connection, list(partitions_between(new.retention_class, instant, instant)))
    values = {
        "job_type": new.job_type,
        "job_id": new.job_id,
        "user_id": new.user_id,
        "retention_class": new.retention_class,
        "snapshot": json.dumps(new.snapshot),
        "priority": new.priority,
        "max_attempts": new.max_attempts,
        "available_at": new.available_at,
        "retry_of": new.retry_of,
        "position": await _position(connection, new),
    }
    for shift in range(_SHIFTS):
        at = instant + timedelta(microseconds=shift)
        row = (await connection.execute(_ADD, {**values, "scheduled_for": at})).first()
        if row is not None:
            await connection.execute(_WAKE_WORKERS)
            return record(row)
    raise Conflict(f"schedule {new.job_id} has too many runs at {instant:%Y-%m-%d %H:%M:%S} already")


async def _position(connection: AsyncConnection, new: NewRun) -> int:
    if new.user_id is None or not new.queues_behind_own:
        return 0
    values = {"user_id": new.user_id, "job_type": new.job_type, "most": _MOST_BEHIND}
    return int((await connection.execute(_COUNT_WAITING, values)).scalar_one())


async def count_waiting(connection: AsyncConnection, user_id: int, most: int) -> int:
    """Return how many ad-hoc runs of a user are PENDING, counting no further than ``most``."""
    values = {"user_id": user_id, "job_type": None, "most": most}
    return int((await connection.execute(_COUNT_WAITING, values)).scalar_one())


async def cancel_run(connection: AsyncConnection, user_id: int, run_id: RunId) -> RunStatus | None:
    """Cancel a PENDING run, ask the worker of a RUNNING one to stop; return what it was before."""
    row = (await connection.execute(_LOCK, {"run_id": run_id, "user_id": user_id})).first()
    if row is None:
        return None
    key = {"retention_class": row.retention_class, "scheduled_for": row.scheduled_for, "id": row.id}
    match RunStatus(row.status):
        case RunStatus.PENDING as before:
            await connection.execute(_CANCEL, key)
            await _tell_replay(connection, row.retention_class)
            await tell_of_ended(connection, [run_id] if row.asks else [])
        case RunStatus.RUNNING as before:
            await connection.execute(_ASK_TO_STOP, key)
        case before:
            pass
    return before


async def cancel_waiting(connection: AsyncConnection, run_id: RunId) -> bool:
    """Cancel a run if it is PENDING; return whether it was."""
    row = (await connection.execute(_CANCEL_WAITING, {"run_id": run_id})).first()
    if row is not None:
        await _tell_replay(connection, row.retention_class)
        await tell_of_ended(connection, [run_id] if row.asks else [])
    return row is not None


async def state_of(connection: AsyncConnection, run_id: RunId) -> RunState | None:
    """Return where a run is."""
    row = (await connection.execute(_STATE, {"run_id": run_id})).first()
    if row is None:
        return None
    holder = None if row.worker_id is None else WorkerId(row.worker_id)
    return RunState(RunStatus(row.status), holder, _claimed(row))


async def keep_lease(
    connection: AsyncConnection, worker_id: WorkerId, types: Sequence[str], lease: timedelta
) -> None:
    """Write or extend the lease of a holder."""
    values = {"worker_id": worker_id, "types": list(types), "lease": lease}
    await connection.execute(_KEEP_LEASE, {**values, "host": socket.gethostname(), "pid": os.getpid()})


async def claim_run(
    connection: AsyncConnection, worker_id: WorkerId, run_id: RunId, *, lease: timedelta, max_runtime: timedelta
) -> ClaimedRun | None:
    """Take one run and the lease that it needs; None if it cannot be taken now, and then no lease is kept."""
    job_type = (await connection.execute(_STATE, {"run_id": run_id})).one().job_type
    await connection.execute(_ALONE, {"job_type": job_type})
    values = {"worker_id": worker_id, "run_id": run_id, "max_runtime": max_runtime.total_seconds()}
    row = (await connection.execute(_TAKE, values)).first()
    if row is None:
        return None
    await keep_lease(connection, worker_id, [job_type], lease)
    return _claimed(row)


async def annotate(connection: AsyncConnection, run_id: RunId, update: RunUpdate) -> RunRecord:
    """Store result, error and instants that are given, and return the run."""
    values = {
        "run_id": run_id,
        "result": None if update.result is None else json.dumps(update.result, allow_nan=False),
        "error": None if update.error is None else storable_text(update.error),
        "started_at": update.started_at,
        "finished_at": update.finished_at,
    }
    return record((await connection.execute(_ANNOTATE, values)).one())


async def _tell_replay(connection: AsyncConnection, retention_class: str) -> None:
    if retention_class == "replay":
        await connection.execute(_MOVE_REPLAY)


def _claimed(row: Row[Any]) -> ClaimedRun:
    return ClaimedRun(
        key=RunKey(row.retention_class, row.scheduled_for, row.id),
        run_id=RunId(row.run_id),
        job_type=row.job_type,
        job_id=row.job_id,
        user_id=row.user_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        snapshot=snapshot_of(row.job_snapshot),
    )
