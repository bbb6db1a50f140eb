"""What a tick does, as SQL: due groups, the runs of their schedules, the gaps, the next instants."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import TransactionConflict
from atf.schedules.group_store import Chunk, Cursor, DueGroup, Firing, GapOfGroup, GroupRules
from atf.schedules.misfire import MisfirePolicy, MisfireRule
from atf.storage.database import Database
from atf.storage.partitions import Partition, make_missing, partitions_between
from atf.storage.used_up_runs import tell_of_used_up_runs

_ATTEMPTS: Final = {"alert": 10}  # a dead worker costs an attempt, and the batch of an alert holds hundreds
_CLASSES: Final = {"alert": "alert"}

_DUE_GROUPS: Final = text(
    """
    SELECT id, cron, timezone, next_fire_at, calendar FROM schedule_groups
    WHERE next_fire_at <= :now
      AND (CAST(:after_at AS timestamptz) IS NULL OR (next_fire_at, id) > (:after_at, CAST(:after_id AS int)))
    ORDER BY next_fire_at, id LIMIT 1000
    """
)
_LOCK_GROUPS: Final = text(
    """
    SELECT g.id FROM schedule_groups g
    JOIN unnest(CAST(:ids AS int[]), CAST(:instants AS timestamptz[])) AS d(id, next_fire_at)
      ON g.id = d.id AND g.next_fire_at = d.next_fire_at
    ORDER BY g.id FOR UPDATE OF g SKIP LOCKED
    """
)

# From which instant on a schedule counts: those before were not its own, or have been dealt with.
_BEGINS: Final = "GREATEST(effective_from, COALESCE(next_run_at, effective_from))"

# Whose schedules rest: who is not let in, who may only look, and who has had the day's runs. A schedule that
# rests goes on as if it had fired, and nothing is made up for when the rest is over.
_RESTING: Final = """
    resting AS MATERIALIZED (
        SELECT u.id FROM users u
        LEFT JOIN user_run_days d ON d.user_id = u.id AND d.day = (now() AT TIME ZONE 'UTC')::date
        WHERE NOT u.is_active OR u.role = 'viewer'
           OR (COALESCE(u.runs_per_day_limit, :runs_per_day) > 0
               AND d.runs >= COALESCE(u.runs_per_day_limit, :runs_per_day)))"""
# LATERAL, so that the schedules come in the order of the index and only as many as there is room for.
_CHUNK: Final = f"""
    due AS (
        SELECT * FROM unnest(CAST(:group_ids AS int[]), CAST(:untils AS timestamptz[]),
                             CAST(:upcomings AS timestamptz[])) AS d(group_id, until, upcoming)
        ORDER BY group_id),
    chunk AS MATERIALIZED (
        SELECT s.*, d.group_id, d.until, d.upcoming,
               s.is_on AND s.begins <= d.until AS is_due, s.user_id IN (SELECT id FROM resting) AS rests
        FROM due d CROSS JOIN LATERAL (
            SELECT id, user_id, name, job_type, target, task_params, priority, version, misfire_policy,
                   misfire_grace_seconds, "coalesce", max_attempts, max_runtime_seconds, retry_delay_seconds,
                   enabled AND deleted_at IS NULL AS is_on, {_BEGINS} AS begins
            FROM job_schedules
            WHERE group_id = d.group_id AND id > CASE WHEN d.group_id = :after_group THEN :after_id ELSE 0 END
            ORDER BY id LIMIT :limit) s
        ORDER BY d.group_id, s.id LIMIT :limit)"""
_RUNS: Final = """
        INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, priority,
                                       max_attempts, sort_key, job_snapshot)
        SELECT job_type, c.id, user_id, {instant},
               CASE WHEN :is_replay THEN 'replay'
                    ELSE COALESCE(CAST(:classes AS jsonb) ->> job_type, 'other') END,
               priority,
               COALESCE(max_attempts, CAST(CAST(:attempts AS jsonb) ->> job_type AS int), 3),
               job_sort_key(now(), priority,
                            row_number() OVER (PARTITION BY user_id, job_type ORDER BY {order}) - 1),
               CASE WHEN max_runtime_seconds IS NULL AND retry_delay_seconds IS NULL
                    THEN jsonb_build_object('name', name, 'target', target, 'version', version,
                                            'task_params', task_params)
                    ELSE jsonb_build_object('name', name, 'target', target, 'version', version,
                                            'task_params', task_params,
                                            'limits', jsonb_strip_nulls(jsonb_build_object(
                                                'max_runtime_seconds', max_runtime_seconds,
                                                'retry_delay_seconds', retry_delay_seconds))) END
        FROM {source}
        ON CONFLICT DO NOTHING RETURNING user_id"""
# Counted for those alone who have a limit: of everybody else nothing is written.
_COUNTED: Final = """
    counted AS (
        INSERT INTO user_run_days AS d (user_id, day, runs)
        SELECT m.user_id, (now() AT TIME ZONE 'UTC')::date, count(*) FROM made m JOIN users u ON u.id = m.user_id
        WHERE COALESCE(u.runs_per_day_limit, :runs_per_day) > 0 GROUP BY 1
        ON CONFLICT (user_id, day) DO UPDATE SET runs = d.runs + EXCLUDED.runs)"""
_MOVED: Final = """
    moved AS (
        UPDATE job_schedules s SET next_run_at = chunk.upcoming FROM chunk
        WHERE s.id = chunk.id AND chunk.is_due AND s.enabled AND s.deleted_at IS NULL)"""
_LAST: Final = """
           array_agg(DISTINCT user_id) FILTER (WHERE is_due AND rests) AS resting,
           count(*) AS seen, (array_agg(group_id ORDER BY group_id DESC, id DESC))[1] AS last_group,
           (array_agg(id ORDER BY group_id DESC, id DESC))[1] AS last_id"""

# One due instant and nobody late: all that a tick does on an ordinary day.
_FIRE: Final = text(
    f"""
    WITH {_RESTING}, {_CHUNK},
    made AS ({_RUNS.format(instant="until", order="c.id", source="chunk c WHERE is_due AND NOT rests")}),
    {_COUNTED}, {_MOVED}
    SELECT (SELECT count(*) FROM made) AS created, 0 AS missed, 0 AS unplanned, {_LAST} FROM chunk
    """
)
_CATCH_UP: Final = text(
    f"""
    WITH {_RESTING}, {_CHUNK},
    plans AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:plan_groups AS int[]), CAST(:alerts AS boolean[]), CAST(:policies AS text[]),
            CAST(:graces AS int[]), CAST(:coalesces AS boolean[]), CAST(:missed AS bigint[]),
            CAST(:lasts AS timestamptz[]), CAST(:reasons AS text[]))
        WITH ORDINALITY AS p(of_group, is_alert, policy, grace, coalesces, missed, last_at, reason, plan)),
    planned AS MATERIALIZED (
        SELECT c.*, p.plan, p.missed, p.last_at, p.reason FROM chunk c JOIN plans p
          ON p.of_group = c.group_id AND p.is_alert = (c.job_type = 'alert') AND p.policy = c.misfire_policy
         AND p.grace = c.misfire_grace_seconds AND p.coalesces = c."coalesce"
        WHERE c.is_due AND NOT c.rests),
    fires AS (
        SELECT * FROM unnest(CAST(:fire_plans AS bigint[]), CAST(:fires AS timestamptz[]))
             AS f(of_plan, instant)),
    made AS (
        {
        _RUNS.format(
            instant="f.instant",
            order="f.instant, c.id",
            source="planned c JOIN fires f ON f.of_plan = c.plan AND f.instant >= c.begins",
        )
    }),
    marks AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:mark_groups AS int[]), CAST(:marks AS timestamptz[]),
                             CAST(:ordinals AS bigint[])) AS m(of_group, at, ordinal)),
    begins AS MATERIALIZED (
        SELECT b.group_id, b.begins, (
            SELECT min(m.at) FROM marks m WHERE m.of_group = b.group_id AND m.at >= b.begins) AS at
        FROM (SELECT DISTINCT group_id, begins FROM planned WHERE missed > 0) b),
    gaps AS (
        INSERT INTO job_misfires (schedule_id, count, first_at, last_at, reason)
        SELECT p.id, p.missed - m.ordinal, m.at, p.last_at, p.reason
        FROM planned p
        JOIN begins b ON b.group_id = p.group_id AND b.begins = p.begins
        JOIN marks m ON m.of_group = p.group_id AND m.at = b.at
        WHERE p.missed > m.ordinal
        ON CONFLICT DO NOTHING RETURNING count),
    {_COUNTED}, {_MOVED}
    SELECT (SELECT count(*) FROM made) AS created, (SELECT COALESCE(sum(count), 0) FROM gaps) AS missed,
           count(*) FILTER (WHERE is_due AND NOT rests) - (SELECT count(*) FROM planned) AS unplanned, {
        _LAST
    } FROM chunk
    """
)
_ADVANCE: Final = text(
    """
    UPDATE schedule_groups g
    SET next_fire_at = CASE WHEN EXISTS (
            SELECT FROM job_schedules s WHERE s.group_id = g.id AND s.enabled AND s.deleted_at IS NULL)
        THEN d.next_fire_at END
    FROM unnest(CAST(:ids AS int[]), CAST(:instants AS timestamptz[])) AS d(id, next_fire_at)
    WHERE g.id = d.id
    """
)
_RULES: Final = text(
    f"""
    SELECT s.group_id, job_type = 'alert' AS is_alert, misfire_policy, misfire_grace_seconds,
           "coalesce" AS coalesces, max(next_run_at) FILTER (WHERE effective_from <= d.at) AS begun_until,
           bool_or({_BEGINS} > d.at) AS has_younger
    FROM unnest(CAST(:ids AS int[]), CAST(:instants AS timestamptz[])) AS d(id, at)
    JOIN job_schedules s ON s.group_id = d.id
    WHERE enabled AND deleted_at IS NULL
    GROUP BY 1, 2, 3, 4, 5
    """
)
_STARTS: Final = text(
    f"""
    SELECT DISTINCT s.group_id, {_BEGINS} AS begins
    FROM unnest(CAST(:ids AS int[]), CAST(:firsts AS timestamptz[]), CAST(:lasts AS timestamptz[]))
         AS d(id, first, last)
    JOIN job_schedules s ON s.group_id = d.id AND {_BEGINS} > d.first AND {_BEGINS} <= d.last
    WHERE enabled AND deleted_at IS NULL
    """
)
_COUNT_ACTIVE: Final = text("SELECT count(*) FROM job_schedules WHERE enabled AND deleted_at IS NULL")
_PARK: Final = text("UPDATE schedule_groups SET next_fire_at = NULL WHERE id = :group_id")
_NEXT: Final = text(
    """
    SELECT next_fire_at FROM schedule_groups
    WHERE next_fire_at IS NOT NULL AND id <> ALL(CAST(:without AS int[]))
    ORDER BY next_fire_at LIMIT 1
    """
)


class PostgresGroups:
    """What a tick does, as SQL."""

    def __init__(
        self,
        database: Database,
        *,
        is_replay: bool,
        runs_per_day: int = 0,
        attempts: Mapping[str, int] | None = None,
        retention_classes: Mapping[str, str] | None = None,
    ) -> None:
        self._database = database
        self._is_replay = is_replay
        self._runs_per_day = runs_per_day
        self._attempts = {**_ATTEMPTS, **(attempts or {})}
        self._classes = {**_CLASSES, **(retention_classes or {})}

    async def due_groups(self, now: datetime, *, after: DueGroup | None = None) -> list[DueGroup]:
        """Return up to 1,000 of the groups whose time has come, earliest first, from one of them on."""
        values = {
            "now": now,
            "after_at": after and after.next_fire_at,
            "after_id": after and after.group_id,
        }
        async with self._database.transaction() as connection:
            rows = await connection.execute(_DUE_GROUPS, values)
            return [DueGroup(row.id, row.cron, row.timezone, row.next_fire_at, row.calendar) for row in rows]

    async def rules(self, groups: Sequence[DueGroup]) -> Mapping[int, GroupRules]:
        """Return the rules of groups' schedules, and how far an earlier tick has come."""
        values = {"ids": [one.group_id for one in groups], "instants": [one.next_fire_at for one in groups]}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_RULES, values)).all()
        found = defaultdict(list)
        for row in rows:
            found[row.group_id].append(row)
        due_at = {group.group_id: group.next_fire_at for group in groups}
        return {group_id: _rules(of_group, due_at[group_id]) for group_id, of_group in found.items()}

    async def starts(self, gaps: Sequence[GapOfGroup]) -> Mapping[int, Sequence[datetime]]:
        """Return the different instants inside each gap from which on schedules count."""
        values = {
            "ids": [gap.group_id for gap in gaps],
            "firsts": [gap.first for gap in gaps],
            "lasts": [gap.last for gap in gaps],
        }
        found: defaultdict[int, list[datetime]] = defaultdict(list)
        async with self._database.transaction() as connection:
            for row in await connection.execute(_STARTS, values):
                found[row.group_id].append(row.begins)
        return found

    async def fire(self, firings: Sequence[Firing], *, after: Cursor, limit: int) -> Chunk:
        """Deal with the next schedules of groups in one transaction."""
        async with self._database.transaction() as connection:
            firings = await _locked(connection, firings)
            if not firings:
                return Chunk(0, None)
            await make_missing(connection, self._leaves_of(firings))
            chunk, last_group = await self._make_runs(connection, firings, after, limit)
            done = [one for one in firings if chunk.resume is None or one.group.group_id < last_group]
            values = {
                "ids": [one.group.group_id for one in done],
                "instants": [one.next_fire_at for one in done],
            }
            await connection.execute(_ADVANCE, values)
            return chunk

    def _leaves_of(self, firings: Sequence[Firing]) -> list[Partition]:
        """The leaves that runs of these instants go to: after a long outage nobody has made them ahead."""
        classes = {"replay"} if self._is_replay else {"other", *self._classes.values()}
        instants = {instant for firing in firings for instant in _instants(firing)}
        leaves = {
            leaf
            for name in classes
            for instant in instants
            for leaf in partitions_between(name, instant, instant)
        }
        return sorted(leaves, key=lambda leaf: leaf.table)

    async def _make_runs(
        self, connection: AsyncConnection, firings: Sequence[Firing], after: Cursor, limit: int
    ) -> tuple[Chunk, int]:
        is_simple = all(firing.catch_up is None for firing in firings)
        values = {
            "group_ids": [firing.group.group_id for firing in firings],
            "untils": [firing.until for firing in firings],
            "upcomings": [firing.next_fire_at for firing in firings],
            "after_group": after.group_id,
            "after_id": after.schedule_id,
            "limit": limit,
            "is_replay": self._is_replay,
            "classes": json.dumps(self._classes),
            "attempts": json.dumps(self._attempts),
            "runs_per_day": self._runs_per_day,
            **({} if is_simple else _plan_values(firings)),
        }
        made = (await connection.execute(_FIRE if is_simple else _CATCH_UP, values)).one()
        if made.unplanned:
            raise TransactionConflict("the misfire rule of a schedule was changed while it was fired")
        if made.resting:
            await tell_of_used_up_runs(connection, made.resting, self._runs_per_day)
        if made.created:
            await connection.execute(text("SELECT pg_notify('atf_runs', '')"))
        resume = Cursor(made.last_group, made.last_id) if made.seen == limit else None
        return Chunk(made.created, resume, int(made.missed)), made.last_group

    async def count_active(self) -> int:
        """Return how many schedules are enabled."""
        async with self._database.transaction() as connection:
            return int((await connection.execute(_COUNT_ACTIVE)).scalar_one())

    async def park(self, group: DueGroup) -> None:
        """Let a group that cannot be computed any more sleep."""
        async with self._database.transaction() as connection:
            await connection.execute(_PARK, {"group_id": group.group_id})

    async def next_fire_at(self, *, without: Sequence[int] = ()) -> datetime | None:
        """Return the earliest instant at which any group but these is due."""
        async with self._database.transaction() as connection:
            found: datetime | None = (await connection.execute(_NEXT, {"without": list(without)})).scalar()
        return found


async def _locked(connection: AsyncConnection, firings: Sequence[Firing]) -> list[Firing]:
    values = {
        "ids": [firing.group.group_id for firing in firings],
        "instants": [firing.group.next_fire_at for firing in firings],
    }
    locked = set((await connection.execute(_LOCK_GROUPS, values)).scalars())
    return [firing for firing in firings if firing.group.group_id in locked]


def _instants(firing: Firing) -> Iterator[datetime]:
    if firing.catch_up is None:
        yield firing.until
    else:
        for plan in firing.catch_up.plans.values():
            yield from plan.fires


def _plan_values(firings: Sequence[Firing]) -> dict[str, list[Any]]:
    caught_up = [(firing.group.group_id, firing.catch_up) for firing in firings if firing.catch_up]
    plans = [(group_id, *pair) for group_id, catch_up in caught_up for pair in catch_up.plans.items()]
    fires = [(number, at) for number, (_, _, plan) in enumerate(plans, start=1) for at in plan.fires]
    marks = [(group_id, mark) for group_id, catch_up in caught_up for mark in catch_up.marks]
    return {
        "plan_groups": [group_id for group_id, _, _ in plans],
        "alerts": [rule.is_alert for _, rule, _ in plans],
        "policies": [str(rule.policy) for _, rule, _ in plans],
        "graces": [int(rule.grace.total_seconds()) for _, rule, _ in plans],
        "coalesces": [rule.coalesce for _, rule, _ in plans],
        "missed": [plan.missed.count if plan.missed else 0 for _, _, plan in plans],
        "lasts": [plan.missed and plan.missed.last for _, _, plan in plans],
        "reasons": [plan.missed and str(plan.missed.reason) for _, _, plan in plans],
        "fire_plans": [number for number, _ in fires],
        "fires": [at for _, at in fires],
        "mark_groups": [group_id for group_id, _ in marks],
        "marks": [mark.at for _, mark in marks],
        "ordinals": [mark.ordinal for _, mark in marks],
    }


def _rules(rows: Sequence[Any], due_at: datetime) -> GroupRules:
    begun = max((row.begun_until for row in rows if row.begun_until is not None), default=due_at)
    return GroupRules(
        tuple(
            MisfireRule(
                row.is_alert,
                MisfirePolicy(row.misfire_policy),
                timedelta(seconds=row.misfire_grace_seconds),
                row.coalesces,
            )
            for row in rows
        ),
        begun if begun > due_at else None,
        any(row.has_younger for row in rows),
    )
