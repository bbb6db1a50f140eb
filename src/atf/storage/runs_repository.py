"""Runs as people and programs look at them."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.jobs.run import RunFilter, RunId, RunRecord, RunSort, RunStatus
from atf.jobs.run_statistics import EndedRuns, RunCounts
from atf.storage.tables.runs import RETENTION_CLASSES

RECORD: Final = """
    run_id, job_type, job_id, user_id, status, scheduled_for, enqueued_at, started_at, finished_at, attempt,
    max_attempts, worker_id, job_snapshot, result, error, priority, available_at, cancel_requested, deadline_at,
    error_details, COALESCE(attempts, '[]') AS attempts, retry_of"""
"""SQL: the columns of ``record``."""
_GET: Final = text(f"SELECT {RECORD} FROM job_schedule_runs WHERE run_id = :run_id AND user_id = :user_id")
_FIND: Final = text(
    f"""
    SELECT {RECORD} FROM job_schedule_runs
    WHERE run_id BETWEEN :first AND :last AND user_id = :user_id ORDER BY run_id LIMIT :limit
    """
)
# Two statements: of one type the queue's own index has the runs in order, of all types they are sorted.
_PENDING: Final = f"""
    SELECT {RECORD} FROM job_schedule_runs
    WHERE status = 'PENDING' AND sort_key IS NOT NULL AND available_at <= now()"""
_NEXT: Final = "ORDER BY sort_key, id LIMIT :limit"
_PENDING_OF_ALL: Final = text(f"{_PENDING} {_NEXT}")
_PENDING_OF_TYPE: Final = text(f"{_PENDING} AND job_type = :job_type {_NEXT}")
_ORDERS: Final = {
    RunSort.SCHEDULED_FOR: "scheduled_for DESC",
    RunSort.ENQUEUED_AT: "enqueued_at DESC",
    RunSort.STARTED_AT: "started_at DESC NULLS LAST",
    RunSort.FINISHED_AT: "finished_at DESC NULLS LAST",
    RunSort.DURATION: "COALESCE(finished_at, now()) - started_at DESC NULLS LAST",
    RunSort.ATTEMPT: "attempt DESC",
    RunSort.PRIORITY: "priority",
    RunSort.JOB_TYPE: "job_type",
    RunSort.STATUS: "status",
}

# Hours that are added up already come from the statistics; the rest of the present ones from the runs. User 0 is
# nobody in the statistics, and nobody asks for nobody's.
_ROLLED_UP: Final = text(
    """
    SELECT status, sum(runs) AS runs, sum(retried) AS retried, sum(total_seconds) AS total_seconds,
           max(max_seconds) AS max_seconds
    FROM job_run_statistics
    WHERE user_id = :user_id AND hour >= date_trunc('hour', now() - make_interval(days => :days))
      AND (CAST(:job_type AS text) IS NULL OR job_type = :job_type)
    GROUP BY status
    """
)
_RECENT: Final = text(
    """
    SELECT status, count(*) AS runs, count(*) FILTER (WHERE attempt > 1) AS retried,
           COALESCE(sum(extract(epoch FROM finished_at - started_at)), 0) AS total_seconds,
           COALESCE(max(extract(epoch FROM finished_at - started_at)), 0) AS max_seconds
    FROM job_schedule_runs
    WHERE user_id = :user_id AND status IN ('COMPLETED', 'FAILED', 'CANCELLED')
      AND finished_at >= GREATEST(
            date_trunc('hour', now() - make_interval(days => :days)),
            (SELECT max(hour) + interval '1 hour' FROM job_run_statistics))
      AND (CAST(:job_type AS text) IS NULL OR job_type = :job_type)
    GROUP BY status
    """
)
_OPEN: Final = text(
    """
    SELECT count(*) FILTER (WHERE status = 'PENDING') AS pending,
           count(*) FILTER (WHERE status = 'RUNNING') AS running
    FROM job_schedule_runs
    WHERE user_id = :user_id AND (status = 'PENDING' OR status = 'RUNNING')
      AND (CAST(:job_type AS text) IS NULL OR job_type = :job_type)
    """
)


async def list_runs(connection: AsyncConnection, wanted: RunFilter) -> list[RunRecord]:
    """Return runs, sorted as the filter says.

    The newest runs need no index of their own: inside a retention class the leaves follow each other in time and
    each one's primary key has its runs in order, so reading stops when there are enough.
    """
    rows = await connection.execute(text(list_statement(wanted)), _list_values(wanted))
    return [record(row) for row in rows]


def list_statement(wanted: RunFilter) -> str:
    """Return the SQL of a list; the values are those that the filter has."""
    conditions = ["user_id = :user_id", *(sql for name, sql in _CONDITIONS.items() if _given(wanted, name))]
    order = f"{_ORDERS[wanted.sort]}, id DESC"
    of_class = (
        f"(SELECT {RECORD}, id FROM job_schedule_runs WHERE retention_class = '{name}' "
        f"AND {' AND '.join(conditions)} ORDER BY {order} LIMIT :limit)"
        for name in RETENTION_CLASSES
    )
    return f"SELECT * FROM ({' UNION ALL '.join(of_class)}) AS found ORDER BY {order} LIMIT :limit"


_CONDITIONS: Final = {
    "statuses": "status = ANY(CAST(:statuses AS text[]))",
    "job_id": "job_id = :job_id",
    "job_type": "job_type = :job_type",
    "since": "scheduled_for >= :since",
    "until": "scheduled_for <= :until",
}


def _given(wanted: RunFilter, name: str) -> bool:
    return getattr(wanted, name) not in (None, (), [])


def _list_values(wanted: RunFilter) -> dict[str, Any]:
    given = {name: getattr(wanted, name) for name in _CONDITIONS if _given(wanted, name)}
    if "statuses" in given:
        given["statuses"] = [str(status) for status in wanted.statuses]
    return {"user_id": wanted.user_id, "limit": wanted.limit, **given}


async def get_run(connection: AsyncConnection, user_id: int, run_id: RunId) -> RunRecord | None:
    """Return one run of a user."""
    row = (await connection.execute(_GET, {"user_id": user_id, "run_id": run_id})).first()
    return None if row is None else record(row)


async def find_runs(
    connection: AsyncConnection, user_id: int, first: UUID, last: UUID, limit: int
) -> list[RunRecord]:
    """Return a user's runs whose ids lie between two, both included."""
    values = {"user_id": user_id, "first": first, "last": last, "limit": limit}
    return [record(row) for row in await connection.execute(_FIND, values)]


async def pending_runs(connection: AsyncConnection, job_type: str | None, limit: int) -> list[RunRecord]:
    """Return runs that may begin now, in the order in which they are claimed."""
    if job_type is None:
        rows = await connection.execute(_PENDING_OF_ALL, {"limit": limit})
    else:
        rows = await connection.execute(_PENDING_OF_TYPE, {"job_type": job_type, "limit": limit})
    return [record(row) for row in rows]


async def count_runs(connection: AsyncConnection, user_id: int, job_type: str | None, days: int) -> RunCounts:
    """Add up a user's runs: closed hours from the statistics, the rest from the runs."""
    values = {"user_id": user_id, "job_type": job_type}
    ended: list[EndedRuns] = []
    for statement in (_ROLLED_UP, _RECENT):
        ended += map(_ended, (await connection.execute(statement, {**values, "days": days})).all())
    unfinished = (await connection.execute(_OPEN, values)).one()
    return RunCounts(ended, unfinished.pending, unfinished.running)


def _ended(row: Row[Any]) -> EndedRuns:
    status, seconds = RunStatus(row.status), float(row.total_seconds)
    return EndedRuns(status, int(row.runs), int(row.retried), seconds, float(row.max_seconds))


def record(row: Row[Any]) -> RunRecord:
    """Return the run of a row with the columns of ``RECORD``."""
    return RunRecord(
        run_id=RunId(row.run_id),
        job_type=row.job_type,
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
        priority=row.priority,
        available_at=row.available_at,
        cancel_requested=row.cancel_requested,
        deadline_at=row.deadline_at,
        error_details=row.error_details,
        attempts=row.attempts,
        retry_of=None if row.retry_of is None else RunId(row.retry_of),
    )
