"""The numbers of health: few statements, and never more than a bounded part of the history is read.

Failed runs are counted by a partial index. Completed ones have none, as it would cost every completion: they are
read from the partitions of the last 24 hours, and from a sample of their blocks if those are large.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.health.statistics import DatabaseProbe, QueueOfType, Statistics, Trouble
from atf.storage.database import Database
from atf.storage.partitions import partitions_between

_DAY: Final = timedelta(hours=24)
_MOST_BYTES: Final = 64 * 1024 * 1024
"""How much of the run table is read for an answer; about 150,000 runs."""
_MOST_ERRORS: Final = 5

_ALERT_WORKER: Final = text(
    "SELECT EXISTS (SELECT FROM workers WHERE 'alert' = ANY(types) AND lease_expires_at > now())"
)
_JOB_STORE: Final = text("SELECT count(*) FROM apscheduler_jobs")
_SCHEDULES: Final = text(
    """
    SELECT count(*) AS total, count(*) FILTER (WHERE enabled) AS enabled
    FROM job_schedules WHERE deleted_at IS NULL
    """
)
_QUEUE: Final = text(
    """
    SELECT job_type, count(*) FILTER (WHERE status = 'PENDING' AND available_at <= now()) AS waiting,
           count(*) FILTER (WHERE status = 'PENDING' AND available_at > now()) AS delayed,
           count(*) FILTER (WHERE status = 'RUNNING') AS running,
           COALESCE(extract(epoch FROM now() - min(GREATEST(available_at, enqueued_at)) FILTER (
               WHERE status = 'PENDING' AND available_at <= now())), 0)::float8 AS oldest_seconds
    FROM job_schedule_runs WHERE status IN ('PENDING', 'RUNNING')
    GROUP BY job_type ORDER BY job_type
    """
)
_OPEN: Final = text(
    """
    SELECT count(*) FILTER (WHERE status = 'PENDING' AND available_at <= now()) AS waiting,
           count(*) FILTER (WHERE status = 'RUNNING') AS running
    FROM job_schedule_runs WHERE status IN ('PENDING', 'RUNNING')
    """
)
_TROUBLE: Final = text(
    """
    SELECT (SELECT count(*) FROM job_misfires WHERE noticed_at > :since) AS misfires,
           (SELECT COALESCE(sum("count"), 0)::bigint FROM job_misfires WHERE noticed_at > :since) AS missed_runs,
           (SELECT count(*) FROM job_dead_letters WHERE requeued_at IS NULL) AS dead_letters,
           (SELECT count(*) FROM workers_lost WHERE lost_at > :since) AS lost_workers,
           (SELECT COALESCE(sum(runs), 0)::bigint FROM workers_lost WHERE lost_at > :since) AS rescued_runs
    """
)
_SLOTS: Final = text(
    """
    SELECT slot.key AS job_type, sum(slot.value::int)::bigint AS slots
    FROM workers w, jsonb_each_text(w.slots) AS slot WHERE w.lease_expires_at > now() GROUP BY slot.key
    """
)
_WORKERS: Final = text("SELECT count(*) FROM workers WHERE lease_expires_at > now() AND slots <> '{}'")
_FAILED: Final = text(
    """
    SELECT left(COALESCE(error_details ->> 'type', split_part(error, ':', 1), 'unknown'), 100) AS kind,
           count(*) AS runs
    FROM job_schedule_runs WHERE status = 'FAILED' AND finished_at > :since
    GROUP BY kind ORDER BY runs DESC, kind
    """
)
_SIZE: Final = text(
    "SELECT COALESCE(sum(pg_relation_size(to_regclass(name))), 0) FROM unnest(CAST(:leaves AS text[])) AS name"
)
_REPLAY_SIZE: Final = text(
    """
    SELECT COALESCE(sum(pg_relation_size(relid)), 0)
    FROM pg_partition_tree('job_schedule_runs_replay') WHERE isleaf
    """
)


class PostgresStatistics:
    """Reads what `/health` and `/stats` tell. A replay's runs lie in market time, so they go by their end."""

    def __init__(self, database: Database, *, is_replay: bool = False, most_bytes: int = _MOST_BYTES) -> None:
        self._database = database
        self._is_replay = is_replay
        self._most_bytes = most_bytes

    async def probe(self) -> DatabaseProbe:
        """Look whether the database answers, somebody evaluates alerts, and the timer's store can be read."""
        async with self._database.transaction() as connection:
            has_worker = bool((await connection.execute(_ALERT_WORKER)).scalar_one())
            return DatabaseProbe(has_worker, await _is_readable(connection))

    async def statistics(self) -> Statistics:
        """Count schedules, the queue, and what ended in the last 24 hours."""
        since = datetime.now(UTC) - _DAY
        async with self._database.transaction() as connection:
            schedules = (await connection.execute(_SCHEDULES)).one()
            queue = {row[0]: QueueOfType(*row[1:]) for row in await connection.execute(_QUEUE)}
            for job_type, slots in await connection.execute(_SLOTS):
                queue[job_type] = replace(queue.get(job_type, QueueOfType()), slots=slots)
            trouble = (await connection.execute(_TROUBLE, {"since": since})).one()
            workers = (await connection.execute(_WORKERS)).scalar_one()
            failed = (await connection.execute(_FAILED, {"since": since})).all()
            percent = await self._percent(connection, since)
            completed = (await connection.execute(_completed(self._is_replay, percent), {"since": since})).one()
        return Statistics(
            total_schedules=int(schedules.total),
            enabled_schedules=int(schedules.enabled),
            queue=queue,
            completed_24h=round(completed.runs * 100 / percent),
            failed_24h=sum(int(row.runs) for row in failed),
            avg_duration=float(completed.average or 0),
            max_duration=float(completed.longest or 0),
            avg_wait=float(completed.waited or 0),
            common_errors=[_error(row) for row in failed[:_MOST_ERRORS]],
            is_estimated=percent < 100,
            trouble=Trouble(**trouble._mapping),
            workers=workers,
        )

    async def _percent(self, connection: AsyncConnection, since: datetime) -> float:
        """Return which part of the run table's blocks is to be read."""
        if self._is_replay:
            size = (await connection.execute(_REPLAY_SIZE)).scalar_one()
        else:
            leaves = [
                leaf.table
                for kind in ("alert", "other")
                for leaf in partitions_between(kind, since, datetime.now(UTC))
            ]
            size = (await connection.execute(_SIZE, {"leaves": leaves})).scalar_one()
        return 100 if size <= self._most_bytes else 100 * self._most_bytes / float(size)


async def count_open_runs(database: Database) -> tuple[int, int]:
    """Return how many runs of everybody may begin now and wait, and how many are running."""
    async with database.transaction() as connection:
        row = (await connection.execute(_OPEN)).one()
    return int(row.waiting), int(row.running)


async def _is_readable(connection: AsyncConnection) -> bool:
    try:
        async with connection.begin_nested():
            await connection.execute(_JOB_STORE)
    except DBAPIError as exc:
        if exc.connection_invalidated:
            raise
        return False
    return True


def _completed(is_replay: bool, percent: float) -> TextClause:
    """Without a sample the planner is free to use the primary key."""
    sample = "" if percent == 100 else f"TABLESAMPLE SYSTEM ({percent:.6f})"
    where = (
        "retention_class = 'replay' AND finished_at > :since"
        if is_replay
        else "retention_class IN ('alert', 'other') AND scheduled_for > :since"
    )
    return text(
        f"""
        SELECT count(*) AS runs,
               extract(epoch FROM avg(finished_at - started_at))::float8 AS average,
               extract(epoch FROM max(finished_at - started_at))::float8 AS longest,
               extract(epoch FROM avg(started_at - GREATEST(available_at, enqueued_at)))::float8 AS waited
        FROM job_schedule_runs {sample} WHERE status = 'COMPLETED' AND {where}
        """
    )


def _error(row: Row[Any]) -> tuple[str, int]:
    return row.kind, int(row.runs)
