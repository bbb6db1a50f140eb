"""Alerts as SQL: loading them with their state, and the one commit of an evaluated batch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.alerts.alert_message import storable, trigger_key
from atf.alerts.alerts_service import AlertRecord, TriggerRecord
from atf.alerts.outcome import LoadedAlert, Outcome, StoredAlert
from atf.alerts.rearm import AlertState, AlertStatus, DataStatus, Gate
from atf.jobs.run import ClaimedRun, Completion, WorkerId
from atf.notifications.message import OutgoingMessage
from atf.schedules.schedule import Schedule, ScheduleCreate
from atf.storage.database import Database
from atf.storage.notifications_repository import add_messages
from atf.storage.run_queue import complete_runs, held_runs
from atf.storage.schedules_repository import insert_schedule

_LOAD: Final = text(
    """
    SELECT s.id AS schedule_id, s.user_id, s.name, s.task_params, s.version AS schedule_version, s.created_at,
           s.enabled AND s.deleted_at IS NULL AS is_active,
           a.rule_hash, a.gate, a.count AS true_bars, a.cooldown_until, a.last_bar, a.last_trigger_bar,
           a.trigger_count, a.sides, a.status, a.data_status, a.version
    FROM job_schedules s LEFT JOIN alert_states a ON a.schedule_id = s.id
    WHERE s.id = ANY(CAST(:ids AS bigint[])) AND s.job_type = 'alert'
    """
)
_NEW_STATE: Final = text(
    """
    INSERT INTO alert_states (schedule_id, gate, status, data_status, rule_hash, version)
    SELECT id, 'open', 'ARMED', 'ok', hash, 0
    FROM unnest(CAST(:ids AS int[]), CAST(:hashes AS text[])) AS k(id, hash)
    ON CONFLICT DO NOTHING
    """
)
_LOCK_STATES: Final = text(
    """
    SELECT schedule_id, version FROM alert_states WHERE schedule_id = ANY(CAST(:ids AS int[]))
    ORDER BY schedule_id FOR NO KEY UPDATE
    """
)
_STORE_STATES: Final = text(
    """
    UPDATE alert_states a
    SET gate = k.gate, count = k.true_bars, cooldown_until = k.cooldown_until, last_bar = k.last_bar,
        last_trigger_bar = k.last_trigger_bar, trigger_count = k.trigger_count, status = k.status,
        data_status = k.data_status, rule_hash = k.rule_hash, version = a.version + 1, updated_at = now()
    FROM unnest(CAST(:ids AS int[]), CAST(:gates AS text[]), CAST(:counts AS int[]),
                CAST(:cooldowns AS timestamptz[]), CAST(:last_bars AS timestamptz[]),
                CAST(:last_triggers AS timestamptz[]), CAST(:trigger_counts AS int[]),
                CAST(:statuses AS text[]), CAST(:data_statuses AS text[]), CAST(:hashes AS text[]))
         AS k(id, gate, true_bars, cooldown_until, last_bar, last_trigger_bar, trigger_count, status,
              data_status, rule_hash)
    WHERE a.schedule_id = k.id
    """
)
_STORE_TRIGGERS: Final = text(
    """
    INSERT INTO alert_triggers (schedule_id, user_id, rule_hash, bar_time, trigger_number, dedup_key, readings,
                                is_late, run_id)
    SELECT id, user_id, hash, bar_time, number, key, CAST(readings AS jsonb), is_late, run_id
    FROM unnest(CAST(:ids AS int[]), CAST(:user_ids AS int[]), CAST(:hashes AS text[]),
                CAST(:bar_times AS timestamptz[]), CAST(:numbers AS int[]), CAST(:keys AS text[]),
                CAST(:readings AS text[]), CAST(:lates AS boolean[]), CAST(:run_ids AS uuid[]))
         AS k(id, user_id, hash, bar_time, number, key, readings, is_late, run_id)
    ON CONFLICT DO NOTHING
    """
)
_SHOW: Final = """
    SELECT s.id, s.user_id, s.name, s.task_params, s.cron, s.timezone, s.enabled, s.created_at, s.next_run_at,
           v.state_json
    FROM job_schedules s LEFT JOIN alert_state_json v ON v.schedule_id = s.id
    WHERE s.user_id = :user_id AND s.job_type = 'alert' AND s.deleted_at IS NULL"""
_LIST: Final = text(f"{_SHOW} ORDER BY s.id")
_GET: Final = text(f"{_SHOW} AND s.id = :id")
_TRIGGERS: Final = text(
    """
    SELECT bar_time, trigger_number, dedup_key, readings, is_late, decided_at FROM alert_triggers
    WHERE schedule_id = :id ORDER BY bar_time DESC LIMIT :limit
    """
)


class PostgresAlertCommit:
    """One open transaction of an evaluated batch."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._worker_id = WorkerId("")

    async def held(self, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> frozenset[int]:
        """Lock the runs in key order; return the ids of those that the worker still holds."""
        self._worker_id = worker_id
        return await held_runs(self._connection, worker_id, runs)

    async def unchanged(self, loaded: Sequence[LoadedAlert]) -> frozenset[int]:
        """Lock the states in id order; return the schedules whose version is still the loaded one."""
        expected = {one.stored.schedule_id: one.state.version for one in loaded}
        lost = [one for one in loaded if one.stored.state is None]
        if lost:
            hashes = [one.alert.rule_hash for one in lost]
            ids = [one.stored.schedule_id for one in lost]
            await self._connection.execute(_NEW_STATE, {"ids": ids, "hashes": hashes})
        rows = await self._connection.execute(_LOCK_STATES, {"ids": sorted(expected)})
        return frozenset(row.schedule_id for row in rows if row.version == expected[row.schedule_id])

    async def states(self, outcomes: Sequence[Outcome]) -> None:
        """Store the new states; their rows are locked and were found unchanged."""
        states = [outcome.evaluation.state for outcome in outcomes]
        values = {
            "ids": [outcome.schedule_id for outcome in outcomes],
            "gates": [str(state.gate) for state in states],
            "counts": [state.count for state in states],
            "cooldowns": [state.cooldown_until for state in states],
            "last_bars": [state.last_bar for state in states],
            "last_triggers": [state.last_trigger_bar for state in states],
            "trigger_counts": [state.trigger_count for state in states],
            "statuses": [str(state.status) for state in states],
            "data_statuses": [str(state.data_status) for state in states],
            "hashes": [state.rule_hash for state in states],
        }
        await self._connection.execute(_STORE_STATES, values)

    async def triggers(self, outcomes: Sequence[Outcome]) -> None:
        """Record each trigger; its unique key is what makes it happen once.

        One that is recorded already, as when a state was set back by hand, is left alone like its message.
        """
        decided = [(outcome, trigger) for outcome in outcomes for trigger in outcome.evaluation.triggers]
        if not decided:
            return
        values = {
            "ids": [outcome.schedule_id for outcome, _ in decided],
            "user_ids": [outcome.loaded.stored.user_id for outcome, _ in decided],
            "hashes": [outcome.loaded.alert.rule_hash for outcome, _ in decided],
            "bar_times": [trigger.bar_time for _, trigger in decided],
            "numbers": [trigger.number for _, trigger in decided],
            "keys": [
                trigger_key(outcome.schedule_id, outcome.loaded.alert.rule_hash, trigger.bar_time)
                for outcome, trigger in decided
            ],
            "readings": [json.dumps(storable(trigger.readings)) for _, trigger in decided],
            "lates": [trigger.is_late for _, trigger in decided],
            "run_ids": [outcome.newest_run.run_id for outcome, _ in decided],
        }
        await self._connection.execute(_STORE_TRIGGERS, values)

    async def outbox(self, messages: Sequence[OutgoingMessage]) -> None:
        """Store messages and their deliveries."""
        await add_messages(self._connection, messages)

    async def runs(self, completions: Sequence[Completion]) -> None:
        """Complete the runs."""
        await complete_runs(self._connection, self._worker_id, completions)


class PostgresAlerts:
    """Alerts in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, schedule_ids: Sequence[int]) -> Sequence[StoredAlert]:
        """Return the alerts with their current configuration and state."""
        async with self._database.transaction() as connection:
            return [_stored(row) for row in await connection.execute(_LOAD, {"ids": list(schedule_ids)})]

    @asynccontextmanager
    async def commit(self) -> AsyncIterator[PostgresAlertCommit]:
        """Open the transaction in which a batch stands or falls."""
        async with self._database.transaction() as connection:
            yield PostgresAlertCommit(connection)

    async def add(
        self, user_id: int, schedule: ScheduleCreate, *, rule_hash: str, now: datetime, next_fire_at: datetime
    ) -> Schedule:
        """Store an alert's schedule together with its first state."""
        async with self._database.transaction() as connection:
            stored = await insert_schedule(connection, user_id, schedule, now=now, next_fire_at=next_fire_at)
            await connection.execute(_NEW_STATE, {"ids": [stored.id], "hashes": [rule_hash]})
        return stored

    async def list_alerts(self, user_id: int) -> list[AlertRecord]:
        """Return a user's alerts with their states, oldest first."""
        async with self._database.transaction() as connection:
            return [AlertRecord(**row._mapping) for row in await connection.execute(_LIST, {"user_id": user_id})]

    async def get_alert(self, user_id: int, schedule_id: int) -> AlertRecord | None:
        """Return one alert with its state."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_GET, {"user_id": user_id, "id": schedule_id})).first()
        return None if row is None else AlertRecord(**row._mapping)

    async def list_triggers(self, schedule_id: int, limit: int) -> list[TriggerRecord]:
        """Return an alert's triggers, newest first."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_TRIGGERS, {"id": schedule_id, "limit": limit})
            return [TriggerRecord(**row._mapping) for row in rows]


def _stored(row: Row[Any]) -> StoredAlert:
    return StoredAlert(
        schedule_id=row.schedule_id,
        user_id=row.user_id,
        name=row.name,
        config=row.task_params,
        version=row.schedule_version,
        is_active=row.is_active,
        created_at=row.created_at,
        state=None if row.version is None else _state(row),
    )


def _state(row: Row[Any]) -> AlertState:
    return AlertState(
        rule_hash=row.rule_hash,
        gate=Gate(row.gate),
        count=row.true_bars,
        cooldown_until=row.cooldown_until,
        last_bar=row.last_bar,
        last_trigger_bar=row.last_trigger_bar,
        trigger_count=row.trigger_count,
        sides=row.sides,
        status=AlertStatus(row.status),
        data_status=DataStatus(row.data_status),
        version=row.version,
    )
