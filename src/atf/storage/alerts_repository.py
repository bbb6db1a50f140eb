"""Alerts as SQL: loading them with their state, and the one commit of an evaluated batch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.alerts.action import MOST_ACTIONS
from atf.alerts.alert import fresh_state
from atf.alerts.alert_message import storable, trigger_key
from atf.alerts.alerts_service import ActionRecord, AlertRecord, TriggerRecord
from atf.alerts.explanation import to_keep
from atf.alerts.outcome import NO_STATE, Outcomes, StoredAlert, StoredStates
from atf.alerts.state import DATA_STATUSES, STATUSES, AlertState, Side, StateColumns
from atf.jobs.run import ClaimedRun, Completion, WorkerId
from atf.market.bars import to_instant
from atf.notifications.message import DeliveryStatus, OutgoingMessage
from atf.schedules.schedule import Schedule, ScheduleCreate
from atf.storage.columns import (
    big_integers,
    booleans,
    elements,
    instants,
    integers,
    raw_cursor,
    raw_row,
    read_instants,
)
from atf.storage.database import Database
from atf.storage.notifications_repository import add_messages
from atf.storage.run_queue import complete_runs, held_runs, look_up_by_key
from atf.storage.schedules_repository import insert_schedule
from atf.storage.users_repository import roles_of

_HASH_LENGTH: Final = 64


def _texts(values: Sequence[str]) -> str:
    """Return an array of words as SQL; a status travels as its place in it."""
    return f"CAST(ARRAY[{', '.join(repr(str(value)) for value in values)}] AS text[])"


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
               CAST(COALESCE(array_position({_texts(STATUSES)}, a.status), 1) AS bigint) AS status,
               CAST(COALESCE(array_position({_texts(DATA_STATUSES)}, a.data_status), 1) AS bigint) AS data_status,
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
_NEW_STATE: Final = text(
    """
    INSERT INTO alert_states (schedule_id, gate, status, data_status, rule_hash, history_until, version)
    SELECT id, gate, 'ARMED', 'ok', hash, history_until, 0
    FROM unnest(CAST(:ids AS int[]), CAST(:gates AS text[]), CAST(:hashes AS text[]),
                CAST(:histories AS timestamptz[])) AS k(id, gate, hash, history_until)
    ON CONFLICT DO NOTHING
    """
)
_LOCK_STATES: Final = """
    SELECT array_agg(schedule_id), array_agg(version) FROM (
        SELECT CAST(schedule_id AS bigint) AS schedule_id, CAST(version AS bigint) AS version FROM alert_states
        WHERE schedule_id = ANY(%(ids)s) ORDER BY schedule_id FOR NO KEY UPDATE) AS k
"""
_STORE_STATES: Final = text(
    f"""
    UPDATE alert_states a
    SET gate = CASE WHEN k.is_open THEN 'open' ELSE 'closed' END, count = k.true_bars,
        cooldown_until = NULLIF(k.cooldown_until, '-infinity'), last_bar = NULLIF(k.last_bar, '-infinity'),
        last_trigger_bar = NULLIF(k.last_trigger_bar, '-infinity'), trigger_count = k.trigger_count,
        status = ({_texts(STATUSES)})[k.status + 1], data_status = ({_texts(DATA_STATUSES)})[k.data_status + 1],
        version = a.version + 1, updated_at = now()
    FROM unnest(CAST(:ids AS int[]), CAST(:open AS boolean[]), CAST(:counts AS int[]),
                CAST(:cooldowns AS timestamptz[]), CAST(:last_bars AS timestamptz[]),
                CAST(:last_triggers AS timestamptz[]), CAST(:trigger_counts AS int[]),
                CAST(:statuses AS int[]), CAST(:data_statuses AS int[]))
         AS k(id, is_open, true_bars, cooldown_until, last_bar, last_trigger_bar, trigger_count, status,
              data_status)
    WHERE a.schedule_id = k.id
    """
)
_RENEW_STATES: Final = text(
    """
    UPDATE alert_states a SET rule_hash = k.hash, history_until = k.history_until, sides = '{}'
    FROM unnest(CAST(:ids AS int[]), CAST(:hashes AS text[]), CAST(:histories AS timestamptz[]))
         AS k(id, hash, history_until)
    WHERE a.schedule_id = k.id
    """
)
_STORE_SIDES: Final = text(
    """
    UPDATE alert_states a SET sides = CAST(k.sides AS jsonb)
    FROM unnest(CAST(:ids AS int[]), CAST(:sides AS text[])) AS k(id, sides)
    WHERE a.schedule_id = k.id
    """
)
_STORE_TRIGGERS: Final = text(
    """
    INSERT INTO alert_triggers (schedule_id, user_id, rule_hash, bar_time, trigger_number, dedup_key, readings,
                                is_late, run_id, is_muted, live_at, explanation)
    SELECT id, user_id, hash, bar_time, number, key, CAST(readings AS jsonb), is_late, run_id, is_muted, live_at,
           CAST(explanation AS jsonb)
    FROM unnest(CAST(:ids AS int[]), CAST(:user_ids AS int[]), CAST(:hashes AS text[]),
                CAST(:bar_times AS timestamptz[]), CAST(:numbers AS int[]), CAST(:keys AS text[]),
                CAST(:readings AS text[]), CAST(:lates AS boolean[]), CAST(:run_ids AS uuid[]),
                CAST(:muted AS boolean[]), CAST(:lives AS timestamptz[]), CAST(:explanations AS text[]))
         AS k(id, user_id, hash, bar_time, number, key, readings, is_late, run_id, is_muted, live_at, explanation)
    ON CONFLICT DO NOTHING
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

_MUTE: Final = text("UPDATE alert_states SET muted_until = :until, updated_at = now() WHERE schedule_id = :id")
# The version moves on, so that an evaluation that is under way does not bring the old state back. A bar that has
# triggered while it forms stays noted, as it does not trigger twice.
_BEGIN_ANEW: Final = text(
    """
    UPDATE alert_states
    SET gate = :gate, count = 0, cooldown_until = NULL, last_bar = NULL, trigger_count = 0, sides = '{}',
        status = 'ARMED', data_status = 'ok', rule_hash = :rule_hash, history_until = :history_until,
        version = version + 1, updated_at = now()
    WHERE schedule_id = :id
    """
)
_ACKNOWLEDGE: Final = text(
    "UPDATE alert_triggers SET acknowledged_at = now() WHERE schedule_id = :id AND acknowledged_at IS NULL"
)


class PostgresAlertCommit:
    """One open transaction of an evaluated batch."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def held(self, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> frozenset[int]:
        """Lock the runs in key order; return the ids of those that the worker still holds."""
        return await held_runs(self._connection, worker_id, runs)

    async def unchanged(self, outcomes: Outcomes) -> list[int]:
        """Lock the states in id order; return the rows whose version is still the loaded one."""
        lost = np.flatnonzero(outcomes.versions == NO_STATE).tolist()
        if lost:
            begun = {outcomes.loaded[row].stored.schedule_id: _fresh(outcomes, row) for row in lost}
            await _add_states(self._connection, begun)
        ids, versions = outcomes.ids, np.where(outcomes.versions == NO_STATE, 0, outcomes.versions)
        found, stored = await _columns(self._connection, _LOCK_STATES, {"ids": big_integers(np.sort(ids))})
        current = dict(zip(elements(found, "i8").tolist(), elements(stored, "i8").tolist(), strict=True))
        pairs = zip(ids.tolist(), versions.tolist(), strict=True)
        return [row for row, (number, version) in enumerate(pairs) if current.get(number) == version]

    async def states(self, outcomes: Outcomes) -> None:
        """Store the new states; their rows are locked and were found unchanged."""
        states, ids = outcomes.evaluated.states, outcomes.ids
        values = {
            "ids": integers(ids),
            "open": booleans(states.is_open),
            "counts": integers(states.count),
            "cooldowns": instants(states.cooldown_until),
            "last_bars": instants(states.last_bar),
            "last_triggers": instants(states.last_trigger_bar),
            "trigger_counts": integers(states.trigger_count),
            "statuses": integers(states.status),
            "data_statuses": integers(states.data_status),
        }
        await self._connection.execute(_STORE_STATES, values)
        renewed = np.flatnonzero(outcomes.is_renewed)
        if len(renewed):
            hashes = [outcomes.loaded[row].alert.rule_hash for row in renewed.tolist()]
            histories = instants(states.history_until[renewed])
            begun = {"ids": integers(ids[renewed]), "hashes": hashes, "histories": histories}
            await self._connection.execute(_RENEW_STATES, begun)
        sides = outcomes.evaluated.sides
        if sides:  # few alerts have sides, and theirs seldom change
            texts = [json.dumps(one) for one in sides.values()]
            turned = {"ids": [int(ids[row]) for row in sides], "sides": texts}
            await self._connection.execute(_STORE_SIDES, turned)

    async def triggers(self, outcomes: Outcomes) -> None:
        """Record each trigger; its unique key is what makes it happen once.

        One that is recorded already, as when a state was set back by hand, is left alone like its message.
        """
        decided = [(row, outcomes.loaded[row], trigger) for row, trigger in outcomes.triggers()]
        if not decided:
            return
        values = {
            "ids": [loaded.stored.schedule_id for _, loaded, _ in decided],
            "user_ids": [loaded.stored.user_id for _, loaded, _ in decided],
            "hashes": [loaded.alert.rule_hash for _, loaded, _ in decided],
            "bar_times": [trigger.bar_time for *_, trigger in decided],
            "numbers": [trigger.number for *_, trigger in decided],
            "keys": [
                trigger_key(loaded.stored.schedule_id, loaded.alert.rule_hash, trigger.bar_time)
                for _, loaded, trigger in decided
            ],
            "readings": [json.dumps(storable(trigger.readings)) for *_, trigger in decided],
            "lates": [trigger.is_late for *_, trigger in decided],
            "run_ids": [outcomes.newest_run(row).run_id for row, *_ in decided],
            "muted": [bool(outcomes.is_muted[row]) for row, *_ in decided],
            "lives": [trigger.live_at for *_, trigger in decided],
            "explanations": [json.dumps(to_keep(loaded.alert, trigger.seen)) for _, loaded, trigger in decided],
        }
        await self._connection.execute(_STORE_TRIGGERS, values)

    async def roles(self, user_ids: Collection[int]) -> dict[int, str]:
        """Return the roles of those of the users that are active."""
        return await roles_of(self._connection, user_ids)

    async def outbox(self, messages: Sequence[OutgoingMessage]) -> None:
        """Store messages and their deliveries."""
        await add_messages(self._connection, messages)

    async def runs(self, worker_id: WorkerId, completions: Sequence[Completion]) -> frozenset[int]:
        """Complete the runs that the worker still holds; return their ids."""
        return await complete_runs(self._connection, worker_id, completions)


class PostgresAlerts:
    """Alerts in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def states(self, schedule_ids: Sequence[int]) -> StoredStates:
        """Return the states of those of the alerts that there are."""
        async with self._database.transaction() as connection:
            arrays = await _columns(connection, _STATES, {"ids": big_integers(np.array(schedule_ids, np.int64))})
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
            stored = await insert_schedule(connection, user_id, schedule, now=now, next_fire_at=next_fire_at)
            await _add_states(connection, {stored.id: state})
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

    async def mute(self, schedule_id: int, until: datetime | None) -> None:
        """Tell nobody of an alert's triggers until then; None ends that."""
        async with self._database.transaction() as connection:
            await connection.execute(_MUTE, {"id": schedule_id, "until": until})

    async def begin_anew(self, schedule_id: int, state: AlertState) -> None:
        """Replace an alert's state by a fresh one."""
        values = {"gate": str(state.gate), "rule_hash": state.rule_hash, "history_until": state.history_until}
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN_ANEW, {"id": schedule_id, **values})

    async def acknowledge(self, schedule_id: int) -> int:
        """Note that somebody has seen an alert's triggers; return how many were new."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_ACKNOWLEDGE, {"id": schedule_id})).rowcount

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


async def _add_states(connection: AsyncConnection, states: Mapping[int, AlertState]) -> None:
    values = {
        "ids": list(states),
        "gates": [str(state.gate) for state in states.values()],
        "hashes": [state.rule_hash for state in states.values()],
        "histories": [state.history_until for state in states.values()],
    }
    await connection.execute(_NEW_STATE, values)


def _fresh(outcomes: Outcomes, row: int) -> AlertState:
    history_until = to_instant(int(outcomes.evaluated.states.history_until[row]))
    return fresh_state(outcomes.loaded[row].alert, history_until)


async def _columns(
    connection: AsyncConnection, statement: str, values: Mapping[str, Any]
) -> Sequence[bytes | None]:
    """Return the one row of aggregated columns as the server sent it, in the open transaction."""
    async with await raw_cursor(connection) as cursor:
        await cursor.execute(statement.encode(), values)
        return raw_row(cursor)


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
