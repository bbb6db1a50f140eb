"""The one commit of an evaluated batch: states, triggers, messages and runs stand or fall together."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.alerts.alert import fresh_state
from atf.alerts.alert_message import storable, trigger_key
from atf.alerts.explanation import to_keep
from atf.alerts.outcome import NO_STATE, Outcomes
from atf.alerts.state import DATA_STATUSES, STATUSES, AlertState
from atf.jobs.run import ClaimedRun, Completion, WorkerId
from atf.market.bars import to_instant
from atf.notifications.message import OutgoingMessage
from atf.storage.columns import (
    aggregated,
    big_integers,
    booleans,
    byte_strings,
    elements,
    instants,
    integers,
    word_list,
)
from atf.storage.message_adding import add_messages
from atf.storage.run_queue import complete_runs, held_runs
from atf.storage.users_repository import roles_of

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
        status = ({word_list(STATUSES)})[k.status + 1],
        data_status = ({word_list(DATA_STATUSES)})[k.data_status + 1],
        last_seen = COALESCE(k.seen, a.last_seen), version = a.version + 1, updated_at = now()
    FROM unnest(CAST(:ids AS int[]), CAST(:open AS boolean[]), CAST(:counts AS int[]),
                CAST(:cooldowns AS timestamptz[]), CAST(:last_bars AS timestamptz[]),
                CAST(:last_triggers AS timestamptz[]), CAST(:trigger_counts AS int[]),
                CAST(:statuses AS int[]), CAST(:data_statuses AS int[]), CAST(:seen AS bytea[]))
         AS k(id, is_open, true_bars, cooldown_until, last_bar, last_trigger_bar, trigger_count, status,
              data_status, seen)
    WHERE a.schedule_id = k.id
    """
)
_RENEW_STATES: Final = text(
    """
    UPDATE alert_states a SET rule_hash = k.hash, history_until = k.history_until, sides = '{}', last_seen = NULL
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
            await add_states(self._connection, begun)
        ids, versions = outcomes.ids, np.where(outcomes.versions == NO_STATE, 0, outcomes.versions)
        found, stored = await aggregated(self._connection, _LOCK_STATES, {"ids": big_integers(np.sort(ids))})
        current = dict(zip(elements(found, "i8").tolist(), elements(stored, "i8").tolist(), strict=True))
        pairs = zip(ids.tolist(), versions.tolist(), strict=True)
        return [row for row, (number, version) in enumerate(pairs) if current.get(number) == version]

    async def states(self, outcomes: Outcomes) -> None:
        """Store the new states; their rows are locked and were found unchanged."""
        states, ids = outcomes.evaluated.states, outcomes.ids
        renewed = np.flatnonzero(outcomes.is_renewed)
        if len(renewed):
            hashes = [outcomes.loaded[row].alert.rule_hash for row in renewed.tolist()]
            histories = instants(states.history_until[renewed])
            begun = {"ids": integers(ids[renewed]), "hashes": hashes, "histories": histories}
            await self._connection.execute(_RENEW_STATES, begun)
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
            "seen": byte_strings(outcomes.evaluated.seen.tolist()),
        }
        await self._connection.execute(_STORE_STATES, values)
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


async def add_states(connection: AsyncConnection, states: Mapping[int, AlertState]) -> None:
    """Store first states by the id of their schedules; one that is there stays."""
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
