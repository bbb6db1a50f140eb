"""Schedules as users change them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.schedules.misfire import MisfirePolicy
from atf.schedules.schedule import Schedule, ScheduleCreate, ScheduleDefaults
from atf.security.user import Quotas
from atf.storage.database import Database
from atf.storage.postgres_runs import PostgresRuns
from atf.storage.quotas import take_schedule

_SCHEDULE: Final = """
    id, user_id, name, job_type, target, task_params, cron, timezone, enabled, priority, next_run_at,
    created_at, updated_at, version, "coalesce", max_instances, misfire_grace_seconds, misfire_policy, calendar,
    effective_from, max_runtime_seconds, max_attempts, retry_delay_seconds"""

# The group's row is locked first and by everybody, so a tick that is about to let it sleep and a schedule that
# joins it cannot miss each other.
_JOIN_GROUP: Final = text(
    """
    INSERT INTO schedule_groups AS g (cron, timezone, calendar, next_fire_at)
    VALUES (:cron, :timezone, :calendar, :next_fire_at)
    ON CONFLICT ON CONSTRAINT schedule_groups_cron_timezone_calendar_key
    DO UPDATE SET next_fire_at = LEAST(COALESCE(g.next_fire_at, EXCLUDED.next_fire_at), EXCLUDED.next_fire_at)
    RETURNING id
    """
)
_INSERT: Final = text(
    f"""
    INSERT INTO job_schedules (user_id, name, job_type, target, task_params, cron, timezone, enabled, priority,
                               next_run_at, created_at, updated_at, effective_from, group_id,
                               "coalesce", max_instances, misfire_grace_seconds, misfire_policy, calendar,
                               max_runtime_seconds, max_attempts, retry_delay_seconds)
    VALUES (:user_id, :name, :job_type, :target, CAST(:task_params AS jsonb), :cron, :timezone, :enabled,
            :priority, :next_run_at, :now, :now, :now, :group_id,
            :coalesce, :max_instances, :misfire_grace_seconds, :misfire_policy, :calendar,
            :max_runtime_seconds, :max_attempts, :retry_delay_seconds)
    RETURNING {_SCHEDULE}
    """
)
# Without a group the schedule keeps its times, and with them the instants that are due already.
_UPDATE: Final = text(
    f"""
    UPDATE job_schedules
    SET name = :name, target = :target, task_params = CAST(:task_params AS jsonb), cron = :cron,
        timezone = :timezone, calendar = :calendar, priority = :priority, "coalesce" = :coalesce,
        max_instances = :max_instances, misfire_grace_seconds = :misfire_grace_seconds,
        misfire_policy = :misfire_policy, max_runtime_seconds = :max_runtime_seconds,
        max_attempts = :max_attempts, retry_delay_seconds = :retry_delay_seconds,
        group_id = COALESCE(:group_id, group_id),
        effective_from = CASE WHEN CAST(:group_id AS int) IS NULL THEN effective_from ELSE :now END,
        next_run_at = CASE WHEN NOT enabled THEN NULL ELSE COALESCE(:next_fire_at, next_run_at) END,
        updated_at = :now, version = version + 1
    WHERE id = :id AND version = :version AND deleted_at IS NULL
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
_GROUP_OF: Final = text("SELECT cron, timezone, calendar FROM job_schedules WHERE id = :id")
_RESUME: Final = text(
    """
    UPDATE job_schedules
    SET enabled = true, next_run_at = :next_fire_at, effective_from = :now, updated_at = :now,
        version = version + 1
    WHERE id = :id AND NOT enabled RETURNING cron, timezone, calendar
    """
)
# Bars that closed while an alert was paused are history: it must not tell now what nobody wanted to hear then.
_FORGET_PAUSED_BARS: Final = text(
    """
    UPDATE alert_states
    SET history_until = GREATEST(history_until, :now), version = version + 1, updated_at = now()
    WHERE schedule_id = :id
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


class PostgresJobsRepository(PostgresRuns):
    """What JobsService does, as SQL: schedules here, the rest in the classes that this one is made of."""

    def __init__(self, database: Database, quotas: Quotas | None = None) -> None:
        super().__init__(database, quotas)
        self._database = database

    async def create_schedule(
        self, user_id: int, schedule: ScheduleCreate, *, now: datetime, next_fire_at: datetime
    ) -> Schedule:
        """Store a schedule in its group and tell the schedulers."""
        async with self._database.transaction() as connection:
            await take_schedule(connection, user_id, schedule.job_type, self._quotas)
            return await insert_schedule(connection, user_id, schedule, now=now, next_fire_at=next_fire_at)

    async def update_schedule(
        self, known: Schedule, wanted: ScheduleCreate, *, now: datetime, next_fire_at: datetime | None
    ) -> Schedule | None:
        """Change a schedule if it is still the known version; with ``next_fire_at`` it moves to another group.

        A group that was joined in vain is advanced by the next tick, which finds nothing to fire in it.
        """
        async with self._database.transaction() as connection:
            group_id = None if next_fire_at is None else await _join_group(connection, wanted, next_fire_at)
            values = _stored(wanted) | {"id": known.id, "version": known.version, "now": now}
            changes = values | {"group_id": group_id, "next_fire_at": next_fire_at}
            row = (await connection.execute(_UPDATE, changes)).first()
            if row is not None:
                await _tell_schedulers(connection)
        return None if row is None else _schedule(row)

    async def get_schedule(self, user_id: int, schedule_id: int) -> Schedule | None:
        """Return a schedule that is not deleted."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_GET, {"id": schedule_id, "user_id": user_id})).first()
        return None if row is None else _schedule(row)

    async def list_schedules(self, user_id: int, job_type: str | None) -> Sequence[Schedule]:
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
            # The group before the schedule, as a tick locks them: the other way round the two block each other.
            group = (await connection.execute(_GROUP_OF, values)).one()
            await connection.execute(_JOIN_GROUP, {**group._mapping, "next_fire_at": next_fire_at})
            resumed = (await connection.execute(_RESUME, values)).first()
            if resumed is not None:
                if tuple(resumed) != tuple(group):  # moved by somebody in between
                    await connection.execute(_JOIN_GROUP, {**resumed._mapping, "next_fire_at": next_fire_at})
                await connection.execute(_FORGET_PAUSED_BARS, {"id": schedule_id, "now": now})
            await _tell_schedulers(connection)

    async def delete_schedule(self, schedule_id: int, *, now: datetime) -> None:
        """Take a schedule out of sight and cancel its waiting runs."""
        async with self._database.transaction() as connection:
            await connection.execute(_DELETE, {"id": schedule_id, "now": now})
            await connection.execute(_CANCEL_WAITING, {"id": schedule_id})
            await _tell_schedulers(connection)


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
    group_id = await _join_group(connection, schedule, next_fire_at)
    values = _stored(schedule) | {"user_id": user_id, "job_type": schedule.job_type, "enabled": schedule.enabled}
    next_run_at = next_fire_at if schedule.enabled else None
    times = {"now": now, "group_id": group_id, "next_run_at": next_run_at}
    row = (await connection.execute(_INSERT, values | times)).one()
    await _tell_schedulers(connection)
    return _schedule(row)


async def _join_group(connection: AsyncConnection, schedule: ScheduleCreate, next_fire_at: datetime) -> int:
    group = {"cron": schedule.cron, "timezone": schedule.timezone, "calendar": schedule.calendar}
    return int((await connection.execute(_JOIN_GROUP, group | {"next_fire_at": next_fire_at})).scalar_one())


def _stored(schedule: ScheduleCreate) -> dict[str, Any]:
    """What a user may change, by column."""
    kept = ("job_type", "enabled")
    values = {one.name: getattr(schedule, one.name) for one in fields(schedule) if one.name not in kept}
    policy = schedule.misfire_policy or MisfirePolicy.RUN_ONCE
    return values | {"task_params": json.dumps(schedule.task_params), "misfire_policy": str(policy)}


async def _tell_schedulers(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT pg_notify('atf_schedules', '')"))


def _schedule(row: Row[Any]) -> Schedule:
    return Schedule(**{**row._mapping, "misfire_policy": MisfirePolicy(row.misfire_policy)})
