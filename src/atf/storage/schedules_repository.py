"""Schedules and their groups: what users change, and what a tick fires."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.jobs.run import JobType, RunFilter, RunId, RunRecord
from atf.schedules.schedule import Schedule, ScheduleCreate, ScheduleDefaults
from atf.schedules.tick import Chunk, DueGroup, Firing
from atf.storage import runs_repository
from atf.storage.database import Database
from atf.storage.partitions import Partition, make_missing, partitions_between

_SCHEDULE: Final = """
    id, user_id, name, job_type, target, task_params, cron, timezone, enabled, priority, next_run_at,
    created_at, updated_at, version, "coalesce", max_instances, misfire_grace_seconds"""

# The group's row is locked first and by everybody, so a tick that is about to let it sleep and a schedule that
# joins it cannot miss each other.
_JOIN_GROUP: Final = text(
    """
    INSERT INTO schedule_groups AS g (cron, timezone, next_fire_at) VALUES (:cron, :timezone, :next_fire_at)
    ON CONFLICT ON CONSTRAINT schedule_groups_cron_timezone_calendar_key
    DO UPDATE SET next_fire_at = LEAST(COALESCE(g.next_fire_at, EXCLUDED.next_fire_at), EXCLUDED.next_fire_at)
    RETURNING id
    """
)
_INSERT: Final = text(
    f"""
    INSERT INTO job_schedules (user_id, name, job_type, target, task_params, cron, timezone, enabled, priority,
                               next_run_at, created_at, updated_at, effective_from, group_id,
                               "coalesce", max_instances, misfire_grace_seconds)
    VALUES (:user_id, :name, :job_type, :target, CAST(:task_params AS jsonb), :cron, :timezone, :enabled,
            :priority, :next_run_at, :now, :now, :now, :group_id,
            :coalesce, :max_instances, :misfire_grace_seconds)
    RETURNING {_SCHEDULE}
    """
)
_GET: Final = text(
    f"SELECT {_SCHEDULE} FROM job_schedules WHERE id = :id AND user_id = :user_id AND deleted_at IS NULL"
)
_LIST: Final = text(
    f"""
    SELECT {_SCHEDULE} FROM job_schedules
    WHERE user_id = :user_id AND deleted_at IS NULL
      AND (CAST(:job_type AS text) IS NULL OR job_type = :job_type)
    ORDER BY id
    """
)
_PAUSE: Final = text(
    """
    UPDATE job_schedules
    SET enabled = false, next_run_at = NULL, updated_at = :now, version = version + 1
    WHERE id = :id AND enabled
    """
)
_RESUME: Final = text(
    """
    UPDATE job_schedules
    SET enabled = true, next_run_at = :next_fire_at, effective_from = :now, updated_at = :now,
        version = version + 1
    WHERE id = :id AND NOT enabled RETURNING cron, timezone
    """
)
# Bars that closed while an alert was paused are history: it must not tell now what nobody wanted to hear then.
_FORGET_PAUSED_BARS: Final = text(
    """
    UPDATE alert_states a
    SET last_bar = GREATEST(a.last_bar, :now - CASE s.task_params ->> 'timeframe'
            WHEN '1m' THEN interval '1 minute' WHEN '5m' THEN interval '5 minutes'
            WHEN '15m' THEN interval '15 minutes' WHEN '30m' THEN interval '30 minutes'
            WHEN '1h' THEN interval '1 hour' WHEN '4h' THEN interval '4 hours'
            WHEN '1w' THEN interval '7 days' ELSE interval '1 day' END),
        version = a.version + 1, updated_at = now()
    FROM job_schedules s WHERE s.id = a.schedule_id AND s.id = :id
    """
)
_DELETE: Final = text(
    """
    UPDATE job_schedules
    SET enabled = false, deleted_at = :now, next_run_at = NULL, updated_at = :now, version = version + 1
    WHERE id = :id AND deleted_at IS NULL
    """
)
_CANCEL_WAITING: Final = text(
    "UPDATE job_schedule_runs SET status = 'CANCELLED', finished_at = now() "
    "WHERE status = 'PENDING' AND job_id = :id AND job_type = (SELECT job_type FROM job_schedules WHERE id = :id)"
)
_DUE_GROUPS: Final = text(
    """
    SELECT id, cron, timezone, next_fire_at FROM schedule_groups
    WHERE next_fire_at <= :now ORDER BY next_fire_at LIMIT 1000
    """
)
_LOCK_GROUP: Final = text(
    """
    SELECT id FROM schedule_groups WHERE id = :group_id AND next_fire_at = :next_fire_at
    FOR UPDATE SKIP LOCKED
    """
)
_FIRE: Final = text(
    """
    WITH chunk AS MATERIALIZED (
        SELECT id, user_id, name, job_type, target, task_params, priority, version,
               enabled AND deleted_at IS NULL AND effective_from <= :instant AS fires
        FROM job_schedules WHERE group_id = :group_id AND id > :after ORDER BY id LIMIT :limit),
    made AS (
        INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, priority,
                                       max_attempts, job_snapshot)
        SELECT job_type, id, user_id, :instant,
               CASE WHEN :is_replay THEN 'replay' WHEN job_type = 'alert' THEN 'alert' ELSE 'other' END,
               priority, CASE job_type WHEN 'alert' THEN 10 ELSE 3 END,
               jsonb_build_object('name', name, 'target', target, 'version', version,
                                  'task_params', task_params)
        FROM chunk WHERE fires
        ON CONFLICT DO NOTHING RETURNING 1),
    moved AS (
        UPDATE job_schedules s SET next_run_at = :next_run_at FROM chunk
        WHERE s.id = chunk.id AND chunk.fires AND s.enabled AND s.deleted_at IS NULL)
    SELECT (SELECT count(*) FROM made) AS created, count(*) AS seen, max(id) AS last_id FROM chunk
    """
)
_ADVANCE: Final = text(
    """
    UPDATE schedule_groups g
    SET next_fire_at = CASE WHEN EXISTS (
            SELECT FROM job_schedules s WHERE s.group_id = g.id AND s.enabled AND s.deleted_at IS NULL)
        THEN CAST(:next_fire_at AS timestamptz) END
    WHERE id = :group_id
    """
)

_COUNT_ACTIVE: Final = text("SELECT count(*) FROM job_schedules WHERE enabled AND deleted_at IS NULL")
_PARK: Final = text("UPDATE schedule_groups SET next_fire_at = NULL WHERE id = :group_id")


class PostgresJobsRepository:
    """What JobsService does, as SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_schedule(
        self, user_id: int, schedule: ScheduleCreate, *, now: datetime, next_fire_at: datetime
    ) -> Schedule:
        """Store a schedule in its group and tell the schedulers."""
        async with self._database.transaction() as connection:
            return await insert_schedule(connection, user_id, schedule, now=now, next_fire_at=next_fire_at)

    async def get_schedule(self, user_id: int, schedule_id: int) -> Schedule | None:
        """Return a schedule that is not deleted."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_GET, {"id": schedule_id, "user_id": user_id})).first()
        return None if row is None else _schedule(row)

    async def list_schedules(self, user_id: int, job_type: JobType | None) -> Sequence[Schedule]:
        """Return the user's schedules, oldest first."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_LIST, {"user_id": user_id, "job_type": job_type})
            return [_schedule(row) for row in rows]

    async def pause_schedule(self, schedule_id: int, *, now: datetime) -> None:
        """Stop a schedule from firing and cancel its waiting runs."""
        async with self._database.transaction() as connection:
            await connection.execute(_PAUSE, {"id": schedule_id, "now": now})
            await connection.execute(_CANCEL_WAITING, {"id": schedule_id})
            await _tell_schedulers(connection)

    async def resume_schedule(self, schedule_id: int, *, now: datetime, next_fire_at: datetime) -> None:
        """Let a schedule fire again from now on."""
        values = {"id": schedule_id, "now": now, "next_fire_at": next_fire_at}
        async with self._database.transaction() as connection:
            row = (await connection.execute(_RESUME, values)).first()
            if row is not None:
                group = {"cron": row.cron, "timezone": row.timezone, "next_fire_at": next_fire_at}
                await connection.execute(_JOIN_GROUP, group)
                await connection.execute(_FORGET_PAUSED_BARS, {"id": schedule_id, "now": now})
            await _tell_schedulers(connection)

    async def delete_schedule(self, schedule_id: int, *, now: datetime) -> None:
        """Take a schedule out of sight and cancel its waiting runs."""
        async with self._database.transaction() as connection:
            await connection.execute(_DELETE, {"id": schedule_id, "now": now})
            await connection.execute(_CANCEL_WAITING, {"id": schedule_id})
            await _tell_schedulers(connection)

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """Return runs, newest first."""
        async with self._database.transaction() as connection:
            return await runs_repository.list_runs(connection, wanted)

    async def get_run(self, user_id: int, run_id: RunId) -> RunRecord | None:
        """Return one run."""
        async with self._database.transaction() as connection:
            return await runs_repository.get_run(connection, user_id, run_id)


class PostgresGroups:
    """What a tick does, as SQL."""

    def __init__(self, database: Database, *, is_replay: bool) -> None:
        self._database = database
        self._is_replay = is_replay

    async def due_groups(self, now: datetime) -> list[DueGroup]:
        """Return the groups whose time has come, earliest first."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_DUE_GROUPS, {"now": now})
            return [DueGroup(row.id, row.cron, row.timezone, row.next_fire_at) for row in rows]

    async def fire(self, firing: Firing, *, after_schedule_id: int, limit: int) -> Chunk | None:
        """Store the runs of the next schedules of a group in one transaction."""
        group = {"group_id": firing.group.group_id, "next_fire_at": firing.group.next_fire_at}
        async with self._database.transaction() as connection:
            if (await connection.execute(_LOCK_GROUP, group)).first() is None:
                return None
            await make_missing(connection, self._leaves_of(firing.instant))
            made = await self._make_runs(connection, firing, after_schedule_id, limit)
            if made.seen == limit:
                return Chunk(made.created, made.last_id)
            advanced = {"group_id": firing.group.group_id, "next_fire_at": firing.next_fire_at}
            await connection.execute(_ADVANCE, advanced)
            return Chunk(made.created, None)

    def _leaves_of(self, instant: datetime) -> list[Partition]:
        """The leaves that the runs of an instant go to: after a long outage nobody has made them ahead."""
        classes = ("replay",) if self._is_replay else ("alert", "other")
        return [leaf for name in classes for leaf in partitions_between(name, instant, instant)]

    async def _make_runs(self, connection: AsyncConnection, firing: Firing, after: int, limit: int) -> Row[Any]:
        values = {
            "group_id": firing.group.group_id,
            "instant": firing.instant,
            "next_run_at": firing.next_fire_at,
            "after": after,
            "limit": limit,
            "is_replay": self._is_replay,
        }
        made = (await connection.execute(_FIRE, values)).one()
        if made.created:
            await connection.execute(text("SELECT pg_notify('atf_runs', '')"))
        return made

    async def count_active(self) -> int:
        """Return how many schedules are enabled."""
        async with self._database.transaction() as connection:
            return int((await connection.execute(_COUNT_ACTIVE)).scalar_one())

    async def park(self, group: DueGroup) -> None:
        """Let a group that cannot be computed any more sleep."""
        async with self._database.transaction() as connection:
            await connection.execute(_PARK, {"group_id": group.group_id})

    async def next_fire_at(self) -> datetime | None:
        """Return the earliest instant at which any group is due."""
        async with self._database.transaction() as connection:
            earliest = await connection.execute(
                text(
                    "SELECT next_fire_at FROM schedule_groups WHERE next_fire_at IS NOT NULL "
                    "ORDER BY next_fire_at LIMIT 1"
                )
            )
            found: datetime | None = earliest.scalar()
        return found


async def insert_schedule(
    connection: AsyncConnection,
    user_id: int,
    schedule: ScheduleCreate,
    *,
    now: datetime,
    next_fire_at: datetime,
) -> Schedule:
    """Store a schedule within somebody's transaction."""
    schedule = ScheduleDefaults().fill(schedule)
    group = {"cron": schedule.cron, "timezone": schedule.timezone, "next_fire_at": next_fire_at}
    group_id = (await connection.execute(_JOIN_GROUP, group)).scalar_one()
    values = {
        "user_id": user_id,
        "name": schedule.name,
        "job_type": schedule.job_type,
        "target": schedule.target,
        "task_params": json.dumps(schedule.task_params),
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "enabled": schedule.enabled,
        "priority": schedule.priority,
        "next_run_at": next_fire_at if schedule.enabled else None,
        "now": now,
        "group_id": group_id,
        "coalesce": schedule.coalesce,
        "max_instances": schedule.max_instances,
        "misfire_grace_seconds": schedule.misfire_grace_seconds,
    }
    row = (await connection.execute(_INSERT, values)).one()
    await _tell_schedulers(connection)
    return _schedule(row)


async def _tell_schedulers(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT pg_notify('atf_schedules', '')"))


def _schedule(row: Row[Any]) -> Schedule:
    return Schedule(**row._mapping)
