"""Alerts as SQL: adding and changing them, loading them with their states, showing what they did."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import numpy as np
from sqlalchemy import text

from atf.alerts.action import MOST_ACTIONS
from atf.alerts.alerts_service import ActionRecord, AlertRecord, TriggerRecord
from atf.alerts.outcome import NO_STATE, StoredAlert, StoredStates
from atf.alerts.state import DATA_STATUSES, STATUSES, AlertState, Side, StateColumns
from atf.notifications.message import DeliveryStatus
from atf.schedules.schedule import Schedule, ScheduleCreate
from atf.security.user import Quotas
from atf.storage.alert_commit import PostgresAlertCommit, add_states
from atf.storage.audit_repository import record_doing
from atf.storage.columns import aggregated, big_integers, elements, read_instants, word_list
from atf.storage.database import Database
from atf.storage.quotas import take_schedule
from atf.storage.run_queue import look_up_by_key
from atf.storage.schedules_repository import insert_schedule

_HASH_LENGTH: Final = 64
_STATES: Final = f"""
    SELECT array_agg(id), array_agg(alert_version), array_agg(is_active), array_agg(version), array_agg(is_open),
           array_agg(true_bars), array_agg(cooldown_until), array_agg(last_bar), array_agg(last_trigger_bar),
           array_agg(trigger_count), array_agg(status), array_agg(data_status), array_agg(history_until),
           string_agg(rule_hash, ''), array_agg(muted_until),
           CAST(jsonb_object_agg(id, sides) FILTER (WHERE sides <> '{{}}') AS text)
    FROM (
        SELECT CAST(s.id AS bigint) AS id, CAST(s.version AS bigint) AS alert_version,
               s.enabled AND s.deleted_at IS NULL AS is_active,
               CAST(COALESCE(a.version, {NO_STATE}) AS bigint) AS version,
               COALESCE(a.gate, 'open') = 'open' AS is_open, CAST(COALESCE(a.count, 0) AS bigint) AS true_bars,
               COALESCE(a.cooldown_until, '-infinity') AS cooldown_until,
               COALESCE(a.last_bar, '-infinity') AS last_bar,
               COALESCE(a.last_trigger_bar, '-infinity') AS last_trigger_bar,
               CAST(COALESCE(a.trigger_count, 0) AS bigint) AS trigger_count,
               CAST(COALESCE(array_position({word_list(STATUSES)}, a.status), 1) AS bigint) AS status,
               CAST(COALESCE(array_position({word_list(DATA_STATUSES)}, a.data_status), 1) AS bigint)
                   AS data_status,
               COALESCE(a.history_until, s.created_at) AS history_until,
               COALESCE(a.muted_until, '-infinity') AS muted_until,
               rpad(COALESCE(a.rule_hash, ''), {_HASH_LENGTH}) AS rule_hash, a.sides
        FROM job_schedules s LEFT JOIN alert_states a ON a.schedule_id = s.id
        WHERE s.id = ANY(%(ids)s) AND s.job_type = 'alert'
        ORDER BY s.id) AS k
"""
_CONFIGURATIONS: Final = text(
    """
    SELECT id AS schedule_id, user_id, name, CAST(task_params AS text) AS config, version, created_at
    FROM job_schedules WHERE id = ANY(CAST(:ids AS bigint[])) AND job_type = 'alert'
    """
)
_SHOW: Final = """
    SELECT s.id, s.user_id, s.name, s.task_params, s.cron, s.timezone, s.enabled, s.created_at, s.next_run_at,
           v.state_json, s.updated_at, s.calendar
    FROM job_schedules s LEFT JOIN alert_state_json v ON v.schedule_id = s.id
    WHERE s.user_id = :user_id AND s.job_type = 'alert' AND s.deleted_at IS NULL"""
_LIST: Final = text(f"{_SHOW} ORDER BY s.id")
_GET: Final = text(f"{_SHOW} AND s.id = :id")
_TRIGGERS: Final = text(
    """
    SELECT bar_time, trigger_number, dedup_key, readings, is_late, decided_at, is_muted, acknowledged_at, live_at,
           explanation
    FROM alert_triggers
    WHERE schedule_id = :id ORDER BY bar_time DESC LIMIT :limit
    """
)
_ACTIONS: Final = text(
    f"""
    SELECT t.bar_time, t.trigger_number, n AS number, m.body AS words, d.channel, d.status, d.attempts, d.error,
           d.sent_at
    FROM (SELECT bar_time, trigger_number, dedup_key FROM alert_triggers
          WHERE schedule_id = :id ORDER BY bar_time DESC LIMIT :limit) AS t
    CROSS JOIN generate_series(1, {MOST_ACTIONS}) AS n
    JOIN msg_messages m ON m.dedup_key = t.dedup_key || ':' || n
    JOIN msg_deliveries d ON d.message_id = m.id
    ORDER BY t.bar_time DESC, n
    """
)

_LAST_SEEN: Final = text(
    """
    SELECT a.last_seen FROM alert_states a JOIN job_schedules s ON s.id = a.schedule_id
    WHERE a.schedule_id = :id AND a.version = :version AND s.user_id = :user_id
    """
)
_MUTE: Final = text("UPDATE alert_states SET muted_until = :until, updated_at = now() WHERE schedule_id = :id")
# The version moves on, so that an evaluation that is under way does not bring the old state back. A bar that has
# triggered while it forms stays noted, as it does not trigger twice.
_BEGIN_ANEW: Final = text(
    """
    UPDATE alert_states
    SET gate = :gate, count = 0, cooldown_until = NULL, last_bar = NULL, trigger_count = 0, sides = '{}',
        status = 'ARMED', data_status = 'ok', rule_hash = :rule_hash, history_until = :history_until,
        last_seen = NULL, version = version + 1, updated_at = now()
    WHERE schedule_id = :id
    """
)
_ACKNOWLEDGE: Final = text(
    "UPDATE alert_triggers SET acknowledged_at = now() WHERE schedule_id = :id AND acknowledged_at IS NULL"
)


class PostgresAlerts:
    """Alerts in the database."""

    def __init__(self, database: Database, quotas: Quotas | None = None) -> None:
        """``quotas``: what users may have that have no limits of their own."""
        self._database = database
        self._quotas = quotas or Quotas()

    async def states(self, schedule_ids: Sequence[int]) -> StoredStates:
        """Return the states of those of the alerts that there are."""
        ids = big_integers(np.array(schedule_ids, np.int64))
        async with self._database.transaction() as connection:
            # A batch that is a twentieth of all alerts would be joined with the whole table of states.
            await look_up_by_key(connection)
            arrays = await aggregated(connection, _STATES, {"ids": ids})
        return _stored_states(arrays)

    async def configurations(self, schedule_ids: Sequence[int]) -> list[StoredAlert]:
        """Return the current configurations of those of the alerts that there are."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_CONFIGURATIONS, {"ids": list(schedule_ids)})
            return [StoredAlert(**row._mapping) for row in rows]

    @asynccontextmanager
    async def commit(self) -> AsyncIterator[PostgresAlertCommit]:
        """Open the transaction in which a batch stands or falls."""
        async with self._database.transaction() as connection:
            await look_up_by_key(connection)
            yield PostgresAlertCommit(connection)

    async def add(
        self, user_id: int, schedule: ScheduleCreate, *, state: AlertState, now: datetime, next_fire_at: datetime
    ) -> Schedule:
        """Store an alert's schedule together with its first state."""
        async with self._database.transaction() as connection:
            await take_schedule(connection, user_id, schedule.job_type, self._quotas)
            stored = await insert_schedule(connection, user_id, schedule, now=now, next_fire_at=next_fire_at)
            await add_states(connection, {stored.id: state})
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

    async def last_seen(self, user_id: int, schedule_id: int, version: int) -> bytes | None:
        """Return what is kept of the bar that a user's alert evaluated last, if the state is of that version."""
        async with self._database.transaction() as connection:
            values = {"user_id": user_id, "id": schedule_id, "version": version}
            found: bytes | None = (await connection.execute(_LAST_SEEN, values)).scalar_one_or_none()
        return found

    async def mute(self, schedule_id: int, until: datetime | None) -> None:
        """Tell nobody of an alert's triggers until then; None ends that."""
        async with self._database.transaction() as connection:
            await connection.execute(_MUTE, {"id": schedule_id, "until": until})
            await record_doing(
                connection, "alert.unmute" if until is None else "alert.mute", "alert", str(schedule_id)
            )

    async def begin_anew(self, schedule_id: int, state: AlertState) -> None:
        """Replace an alert's state by a fresh one."""
        values = {"gate": str(state.gate), "rule_hash": state.rule_hash, "history_until": state.history_until}
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN_ANEW, {"id": schedule_id, **values})
            await record_doing(connection, "alert.reset", "alert", str(schedule_id))

    async def acknowledge(self, schedule_id: int) -> int:
        """Note that somebody has seen an alert's triggers; return how many were new."""
        async with self._database.transaction() as connection:
            seen = (await connection.execute(_ACKNOWLEDGE, {"id": schedule_id})).rowcount
            if seen:
                await record_doing(connection, "alert.acknowledge", "alert", str(schedule_id))
            return seen

    async def list_triggers(self, schedule_id: int, limit: int) -> list[TriggerRecord]:
        """Return an alert's triggers, newest first."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_TRIGGERS, {"id": schedule_id, "limit": limit})
            return [TriggerRecord(**row._mapping) for row in rows]

    async def list_actions(self, schedule_id: int, limit: int) -> list[ActionRecord]:
        """Return what became of the actions of an alert's newest triggers."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_ACTIONS, {"id": schedule_id, "limit": limit})
            return [ActionRecord(**{**row._mapping, "status": DeliveryStatus(row.status)}) for row in rows]


def _stored_states(arrays: Sequence[bytes | None]) -> StoredStates:
    numbers = [elements(arrays[place], "i8").astype(np.int64) for place in (0, 1, 3, 5, 9, 10, 11)]
    ids, alert_versions, versions, counts, trigger_counts, statuses, data_statuses = numbers
    flags = [elements(arrays[place], "i1").astype(np.bool_) for place in (2, 4)]
    cooldowns, last_bars, last_triggers, histories = (read_instants(arrays[place]) for place in (6, 7, 8, 12))
    hashes, sides = ((arrays[place] or b"").decode() for place in (13, 15))
    states = StateColumns(
        flags[1],
        counts,
        cooldowns,
        last_bars,
        last_triggers,
        trigger_counts,
        statuses - 1,
        data_statuses - 1,
        histories,
    )
    rows = {int(number): row for row, number in enumerate(ids.tolist())}
    remembered = {rows[int(number)]: found for number, found in json.loads(sides or "{}").items()}
    unreadable = [row for row, found in remembered.items() if not _is_readable(found)]
    is_readable = versions != NO_STATE
    is_readable[unreadable] = False
    return StoredStates(
        ids,
        alert_versions,
        flags[0],
        versions,
        is_readable,
        states,
        [hashes[start : start + _HASH_LENGTH].rstrip() for start in range(0, len(hashes), _HASH_LENGTH)],
        read_instants(arrays[14]),
        {row: found for row, found in remembered.items() if row not in unreadable},
    )


def _is_readable(sides: object) -> bool:
    return isinstance(sides, dict) and all(side in tuple(Side) for side in sides.values())
