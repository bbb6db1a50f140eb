"""The run table as a queue: claiming, giving back, completing and failing, each as one fenced statement.

The fence is worker and attempt. The status is compared as an expression, ``(status || '')``: with the plain
column the planner takes the partial index of running rows, which looks empty in its statistics, and walks
dead entries (measured at half the speed).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.jobs.run import (
    ClaimedRun,
    Completion,
    Failure,
    JobType,
    RunFilter,
    RunId,
    RunKey,
    RunRecord,
    RunStatus,
    WorkerId,
)
from atf.storage.database import Database

_CLAIM: Final = text(
    """
    WITH live AS (
        SELECT 1 FROM workers WHERE worker_id = :worker_id AND lease_expires_at > now() FOR KEY SHARE)
    UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = :worker_id, started_at = now(), error = NULL
    WHERE run_id = ANY(ARRAY(
        SELECT run_id FROM job_schedule_runs
        WHERE status = 'PENDING' AND available_at <= now() AND job_type = ANY(CAST(:types AS text[]))
          AND EXISTS (SELECT FROM live)
        ORDER BY priority, available_at, id LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING retention_class, scheduled_for, id, run_id, job_type, job_id, user_id,
              attempt, max_attempts, job_snapshot
    """
)

_KEYS: Final = """
    unnest(CAST(:classes AS text[]), CAST(:instants AS timestamptz[]), CAST(:ids AS bigint[]),
           CAST(:attempts AS int[])"""
_IS_HELD: Final = """
    r.retention_class = k.retention_class AND r.scheduled_for = k.scheduled_for AND r.id = k.id
    AND r.attempt = k.attempt AND r.worker_id = :worker_id AND (r.status || '') = 'RUNNING'"""

_HELD: Final = text(
    f"""
    SELECT r.id FROM {_KEYS}) AS k(retention_class, scheduled_for, id, attempt)
    JOIN job_schedule_runs r ON {_IS_HELD}
    ORDER BY r.retention_class, r.scheduled_for, r.id FOR NO KEY UPDATE OF r
    """
)
_COMPLETE: Final = text(
    f"""
    UPDATE job_schedule_runs r
    SET status = 'COMPLETED', finished_at = now(), result = CAST(k.result AS jsonb), error = NULL,
        job_snapshot = COALESCE(CAST(k.snapshot AS jsonb), r.job_snapshot)
    FROM {_KEYS}, CAST(:results AS text[]), CAST(:snapshots AS text[]))
         AS k(retention_class, scheduled_for, id, attempt, result, snapshot)
    WHERE {_IS_HELD}
    """
)
_PUT_BACK: Final = text(
    f"""
    UPDATE job_schedule_runs r
    SET status = 'PENDING', worker_id = NULL, started_at = NULL,
        available_at = now() + CAST(:delay AS interval)
    FROM {_KEYS}) AS k(retention_class, scheduled_for, id, attempt)
    WHERE {_IS_HELD}
    """
)
_FAIL: Final = text(
    f"""
    UPDATE job_schedule_runs r
    SET status = CASE WHEN k.ends OR r.attempt >= r.max_attempts THEN 'FAILED' ELSE 'PENDING' END,
        finished_at = CASE WHEN k.ends OR r.attempt >= r.max_attempts THEN now() END,
        attempt = CASE WHEN k.ends OR r.attempt >= r.max_attempts THEN r.attempt ELSE r.attempt + 1 END,
        available_at = now() + CAST(:delay AS interval),
        error = k.error, error_details = CAST(k.details AS jsonb), worker_id = NULL
    FROM {_KEYS}, CAST(:ends AS boolean[]), CAST(:errors AS text[]), CAST(:details AS text[]))
         AS k(retention_class, scheduled_for, id, attempt, ends, error, details)
    WHERE {_IS_HELD}
    """
)
_RELEASE_HELD: Final = text(
    """
    UPDATE job_schedule_runs
    SET status = 'PENDING', worker_id = NULL, started_at = NULL, attempt = attempt + 1, available_at = now()
    WHERE status = 'RUNNING' AND worker_id = :worker_id
    """
)
_RECORD: Final = """
    SELECT run_id, job_type, job_id, user_id, status, scheduled_for, enqueued_at, started_at, finished_at,
           attempt, max_attempts, worker_id, job_snapshot, result, error
    FROM job_schedule_runs"""
_LIST: Final = text(
    f"""{_RECORD}
    WHERE user_id = :user_id
      AND (CAST(:statuses AS text[]) IS NULL OR status = ANY(CAST(:statuses AS text[])))
      AND (CAST(:job_id AS bigint) IS NULL OR job_id = :job_id)
      AND (CAST(:job_type AS text) IS NULL OR job_type = :job_type)
    ORDER BY scheduled_for DESC, id DESC LIMIT :limit
    """
)
_GET: Final = text(f"{_RECORD} WHERE run_id = :run_id AND user_id = :user_id")


class PostgresRunQueue:
    """The queue that workers draw from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim_runs(self, worker_id: WorkerId, types: Sequence[JobType], limit: int) -> Sequence[ClaimedRun]:
        """Take due runs in one statement, if the worker's lease is alive."""
        values = {"worker_id": worker_id, "types": [str(kind) for kind in types], "limit": limit}
        async with self._database.transaction() as connection:
            rows = await connection.execute(_CLAIM, values)
            return [_claimed(row) for row in rows]

    async def put_back(self, worker_id: WorkerId, runs: Sequence[ClaimedRun], delay: timedelta) -> None:
        """Return runs to PENDING without costing an attempt."""
        async with self._database.transaction() as connection:
            await connection.execute(_PUT_BACK, {**_keys(worker_id, runs), "delay": delay})
            if not delay:
                await connection.execute(text("SELECT pg_notify('atf_runs', '')"))

    async def fail(self, worker_id: WorkerId, failures: Sequence[Failure], delay: timedelta) -> None:
        """End runs as FAILED, or return them to PENDING with one more attempt."""
        runs = [failure.run for failure in failures]
        values = {
            **_keys(worker_id, runs),
            "ends": [failure.is_permanent for failure in failures],
            "errors": [_error_text(failure.error) for failure in failures],
            "details": [_error_details(failure.error) for failure in failures],
            "delay": delay,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_FAIL, values)
            await tell_replay(connection, runs)

    async def release_held(self, worker_id: WorkerId) -> int:
        """Return everything this worker still holds to PENDING with one more attempt."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_RELEASE_HELD, {"worker_id": worker_id})).rowcount


async def held_runs(
    connection: AsyncConnection, worker_id: WorkerId, runs: Sequence[ClaimedRun]
) -> frozenset[int]:
    """Lock the runs in key order; return the ids of those that the worker still holds."""
    return frozenset((await connection.execute(_HELD, _keys(worker_id, runs))).scalars())


async def complete_runs(
    connection: AsyncConnection, worker_id: WorkerId, completions: Sequence[Completion]
) -> None:
    """Complete runs within somebody's transaction; what was taken away meanwhile is left alone."""
    if not completions:
        return
    runs = [completion.run for completion in completions]
    values = {
        **_keys(worker_id, runs),
        "results": [json.dumps(completion.result) for completion in completions],
        "snapshots": [_dumped(completion.snapshot) for completion in completions],
    }
    await connection.execute(_COMPLETE, values)
    await tell_replay(connection, runs)


async def tell_replay(connection: AsyncConnection, runs: Sequence[ClaimedRun]) -> None:
    """Wake the scheduler when a replay's runs end, as it then moves time on; live runs move nothing."""
    if any(run.key.retention_class == "replay" for run in runs):
        await connection.execute(text("SELECT pg_notify('atf_schedules', '')"))


async def list_runs(connection: AsyncConnection, wanted: RunFilter) -> list[RunRecord]:
    """Return runs, newest first."""
    values = {
        "user_id": wanted.user_id,
        "statuses": [str(status) for status in wanted.statuses] or None,
        "job_id": wanted.job_id,
        "job_type": wanted.job_type,
        "limit": wanted.limit,
    }
    return [_record(row) for row in await connection.execute(_LIST, values)]


async def get_run(connection: AsyncConnection, user_id: int, run_id: RunId) -> RunRecord | None:
    """Return one run of a user."""
    row = (await connection.execute(_GET, {"user_id": user_id, "run_id": run_id})).first()
    return None if row is None else _record(row)


def _keys(worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> dict[str, Any]:
    return {
        "worker_id": worker_id,
        "classes": [run.key.retention_class for run in runs],
        "instants": [run.key.scheduled_for for run in runs],
        "ids": [run.key.id for run in runs],
        "attempts": [run.attempt for run in runs],
    }


def _claimed(row: Row[Any]) -> ClaimedRun:
    return ClaimedRun(
        key=RunKey(row.retention_class, row.scheduled_for, row.id),
        run_id=RunId(row.run_id),
        job_type=JobType(row.job_type),
        job_id=row.job_id,
        user_id=row.user_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        snapshot=row.job_snapshot or {},
    )


def _record(row: Row[Any]) -> RunRecord:
    return RunRecord(
        run_id=RunId(row.run_id),
        job_type=JobType(row.job_type),
        job_id=row.job_id,
        user_id=row.user_id,
        status=RunStatus(row.status),
        scheduled_for=row.scheduled_for,
        enqueued_at=row.enqueued_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        worker_id=row.worker_id,
        snapshot=row.job_snapshot,
        result=row.result,
        error=row.error,
    )


def _dumped(document: Any) -> str | None:
    return None if document is None else json.dumps(document)


def _error_text(error: Exception) -> str:
    return storable_text(f"{type(error).__name__}: {error}")


def _error_details(error: Exception) -> str:
    return json.dumps({"type": type(error).__name__, "message": storable_text(str(error))})


def storable_text(text_: str) -> str:
    """Drop what PostgreSQL cannot hold: an error's own text must never keep it from being recorded."""
    return text_.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:10_000]
