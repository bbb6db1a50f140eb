"""The run table as a queue: claiming, giving back, completing and failing, each as one fenced statement.

The fence is worker and attempt. Worker and status are compared in a CASE over the given keys, so that they are
no conditions on the table alone: by its statistics hardly anything runs and nobody knows this worker, and the
planner would take the partial index of running rows and walk dead entries, or read the leaf and expect one row.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import UnstorableData
from atf.jobs.job_type import LONGEST_SECONDS
from atf.jobs.queue import Outcomes, PutBack, Wanted
from atf.jobs.run import ClaimedRun, Completion, Failure, RunId, RunKey, WorkerId
from atf.jobs.run_request import NOTIFY
from atf.market.bars import to_nanoseconds
from atf.storage.advisory_lock import CLAIM_LOCK
from atf.storage.columns import big_integers, instants, integers
from atf.storage.database import Database
from atf.storage.ended_runs import BURIED, ENDED_ATTEMPT
from atf.storage.pinned_connection import PinnedConnection
from atf.storage.run_messages import ASKS_TO_TELL, tell_of_ended
from atf.storage.sent_arrays import SentArray
from atf.storage.stored_document import StoredDocument
from atf.storage.stored_text import error_details, error_text

_LIVE: Final = """
    live AS (SELECT 1 FROM workers WHERE worker_id = %(worker_id)s AND lease_expires_at > now() FOR KEY SHARE)"""
OWN_RUNTIME: Final = f"""
    CASE WHEN jsonb_typeof(job_snapshot #> '{{limits,max_runtime_seconds}}') = 'number'
         THEN CASE WHEN CAST(job_snapshot #>> '{{limits,max_runtime_seconds}}' AS numeric) >= 0.000001
                    AND CAST(job_snapshot #>> '{{limits,max_runtime_seconds}}' AS numeric) <= {LONGEST_SECONDS}
                   THEN CAST(job_snapshot #>> '{{limits,max_runtime_seconds}}' AS float8) END END"""
"""SQL: the time limit of a run's own in seconds, NULL without one.

One that a person has edited into nonsense must not fail the claim, and with it the runs beside it.
"""
_TAKE: Final = f"""
    UPDATE job_schedule_runs
    SET status = 'RUNNING', worker_id = %(worker_id)s, started_at = clock_timestamp(), error = NULL,
        error_details = NULL,
        deadline_at = clock_timestamp() + make_interval(secs => COALESCE(
            {OWN_RUNTIME}, CAST(CAST(%(runtimes)s AS jsonb) ->> job_type AS float8)))"""
_TAKEN: Final = """
    RETURNING retention_class, scheduled_for, id, run_id, job_type, job_id, user_id, attempt, max_attempts,
              {snapshot}, job_snapshot ->> 'version',
              started_at - GREATEST(available_at, enqueued_at) AS waited, sort_key"""
_CLAIMABLE: Final = """
    r.status = 'PENDING' AND r.sort_key IS NOT NULL AND r.available_at <= now() AND EXISTS (SELECT FROM live)"""

_CLAIM_BATCH: Final = f"""
    WITH {_LIVE} {_TAKE}
    WHERE run_id = ANY(ARRAY(
        SELECT r.run_id FROM job_schedule_runs r WHERE {_CLAIMABLE} AND r.job_type = %(job_type)s
        ORDER BY r.sort_key, r.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED))
    {_TAKEN.format(snapshot="NULL")}
    """
# Who claims runs with limits does so alone for the type: two claimers that each see room for one more instance
# would both take it. A statement sees what was committed before it began, so the lock is a statement of its own.
_CLAIM_ALONE: Final = f"""
    SELECT pg_advisory_xact_lock({CLAIM_LOCK}, hashtext(t))
    FROM (SELECT t FROM unnest(CAST(%(types)s AS text[])) t ORDER BY hashtext(t)) AS ordered
    """
_CLAIM: Final = f"""
    WITH {_LIVE},
    wanted AS (SELECT * FROM unnest(CAST(%(types)s AS text[]), CAST(%(limits)s AS int[])) AS w(job_type, most)),
    busy AS MATERIALIZED (
        SELECT job_type, job_id, user_id FROM job_schedule_runs
        WHERE status = 'RUNNING' AND job_type = ANY(CAST(%(types)s AS text[]))),
    busy_jobs AS MATERIALIZED (
        SELECT b.job_id, count(*) AS running, count(*) >= s.max_instances AS is_full
        FROM busy b JOIN job_schedules s ON s.id = b.job_id GROUP BY b.job_id, s.max_instances),
    busy_users AS MATERIALIZED (
        SELECT job_type, user_id, count(*) AS running FROM busy GROUP BY job_type, user_id),
    candidates AS MATERIALIZED (
        SELECT c.* FROM wanted w, LATERAL (
            SELECT r.run_id, r.job_type, r.job_id, r.user_id, r.sort_key, r.id FROM job_schedule_runs r
            WHERE {_CLAIMABLE} AND r.job_type = w.job_type
              AND COALESCE(r.job_id, 0) <> ALL(ARRAY(SELECT job_id FROM busy_jobs WHERE is_full))
              AND COALESCE(r.user_id, 0) <> ALL(ARRAY(
                    SELECT u.user_id FROM busy_users u
                    WHERE u.job_type = w.job_type AND u.user_id IS NOT NULL AND u.running >= %(user_limit)s))
            ORDER BY r.sort_key, r.id LIMIT w.most FOR NO KEY UPDATE SKIP LOCKED) AS c),
    placed AS (
        SELECT c.run_id, c.job_id, c.user_id, s.max_instances,
               COALESCE(j.running, 0) + row_number() OVER (
                   PARTITION BY c.job_id ORDER BY c.sort_key, c.id) AS of_job,
               COALESCE(u.running, 0) + row_number() OVER (
                   PARTITION BY c.job_type, c.user_id ORDER BY c.sort_key, c.id) AS of_user
        FROM candidates c
        LEFT JOIN job_schedules s ON s.id = c.job_id
        LEFT JOIN busy_jobs j ON j.job_id = c.job_id
        LEFT JOIN busy_users u ON u.job_type = c.job_type AND u.user_id = c.user_id)
    {_TAKE}
    WHERE run_id = ANY(ARRAY(
        SELECT run_id FROM placed
        WHERE (job_id IS NULL OR of_job <= COALESCE(max_instances, of_job))
          AND (user_id IS NULL OR of_user <= %(user_limit)s)))
    {_TAKEN.format(snapshot="CAST(job_snapshot AS text)")}
    """
_NO_LIMIT: Final = 2**31 - 1
_MANY: Final = 100
_LONGEST_RESULT: Final = 1024 * 1024

USED_SNAPSHOT: Final = """
    CASE jsonb_typeof(r.job_snapshot) WHEN 'object' THEN r.job_snapshot ELSE '{{}}' END || {used}"""
"""SQL: a run's snapshot with what was really used in place of what was frozen."""
_KEYS: Final = """
    unnest(CAST(:class_numbers AS int[]), CAST(:instants AS timestamptz[]), CAST(:ids AS bigint[]),
           CAST(:attempts AS int[])"""
_IS_HELD: Final = """
    r.retention_class = (CAST(:classes AS text[]))[k.class_number] AND r.scheduled_for = k.scheduled_for
    AND r.id = k.id AND r.attempt = k.attempt
    AND CASE WHEN k.id IS NOT NULL THEN r.worker_id = :worker_id AND r.status = 'RUNNING' END"""

# With a thousand keys and more the planner would rather read the whole leaf, once for every batch.
_BY_KEY: Final = text("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
_HELD: Final = text(
    f"""
    SELECT r.id FROM {_KEYS}) AS k(class_number, scheduled_for, id, attempt)
    JOIN job_schedule_runs r ON {_IS_HELD}
    ORDER BY r.retention_class, r.scheduled_for, r.id FOR NO KEY UPDATE OF r
    """
)
_COMPLETE: Final = text(
    f"""
    UPDATE job_schedule_runs r
    SET status = 'COMPLETED', finished_at = clock_timestamp(), error = NULL,
        result = CAST((CAST(:results AS text[]))[k.result_number] AS jsonb),
        job_snapshot = CASE WHEN k.snapshot_number = 0 THEN r.job_snapshot
            ELSE {USED_SNAPSHOT.format(used="CAST((CAST(:snapshots AS text[]))[k.snapshot_number] AS jsonb)")} END
    FROM {_KEYS}, CAST(:result_numbers AS int[]), CAST(:snapshot_numbers AS int[]))
         AS k(class_number, scheduled_for, id, attempt, result_number, snapshot_number)
    WHERE {_IS_HELD}
    RETURNING r.id
    """
)
# Where a run stands in the queue that was given back: at once if it may begin at once, else when it is staged.
_REQUEUED: Final = """
    available_at = now() + {delay},
    sort_key = CASE WHEN {delay} > interval '0' THEN NULL ELSE job_sort_key(now(), r.priority, 0) END,
    started_at = NULL, deadline_at = NULL"""
_PUT_BACK: Final = text(
    f"""
    UPDATE job_schedule_runs r
    SET status = CASE WHEN r.cancel_requested THEN 'CANCELLED' ELSE 'PENDING' END,
        {_REQUEUED.format(delay="k.delay")}
    FROM {_KEYS}, CAST(:delays AS interval[])) AS k(class_number, scheduled_for, id, attempt, delay)
    WHERE {_IS_HELD}
    RETURNING r.id
    """
)
_FAIL: Final = text(
    f"""
    WITH ended AS (
        UPDATE job_schedule_runs r
        SET status = CASE WHEN k.ends OR r.attempt >= r.max_attempts THEN 'FAILED'
                          WHEN r.cancel_requested THEN 'CANCELLED' ELSE 'PENDING' END,
            attempt = CASE WHEN k.ends OR r.attempt >= r.max_attempts OR r.cancel_requested THEN r.attempt
                           ELSE r.attempt + 1 END,
            finished_at = CASE WHEN k.ends OR r.attempt >= r.max_attempts THEN clock_timestamp() END,
            started_at = CASE WHEN k.ends OR r.attempt >= r.max_attempts OR r.cancel_requested
                              THEN r.started_at END,
            available_at = CASE WHEN k.ends OR r.attempt >= r.max_attempts OR r.cancel_requested
                                THEN r.available_at ELSE now() + k.delay END,
            sort_key = CASE WHEN k.delay > interval '0' THEN NULL ELSE job_sort_key(now(), r.priority, 0) END,
            error = k.error, error_details = CAST(k.details AS jsonb),
            attempts = {ENDED_ATTEMPT.format(outcome="'failed'", error="CAST(k.details AS jsonb)")}
        FROM {_KEYS}, CAST(:ends AS boolean[]), CAST(:errors AS text[]), CAST(:details AS text[]),
             CAST(:delays AS interval[]))
             AS k(class_number, scheduled_for, id, attempt, ends, error, details, delay)
        WHERE {_IS_HELD}
        RETURNING r.*, CASE WHEN k.ends THEN 'permanent' ELSE 'exhausted' END AS reason),
    buried AS ({BURIED})
    SELECT id FROM ended
    """
)
_CANCEL: Final = text(
    f"""
    UPDATE job_schedule_runs r
    SET status = 'CANCELLED', error = 'Cancelled: while it was running',
        attempts = {ENDED_ATTEMPT.format(outcome="'cancelled'", error="NULL")}
    FROM {_KEYS}) AS k(class_number, scheduled_for, id, attempt)
    WHERE {_IS_HELD}
    RETURNING r.id
    """
)
_HANDED_BACK: Final = "CASE WHEN r.cancel_requested THEN 'cancelled' ELSE 'handed_back' END"
_HAND_BACK: Final = text(
    f"""
    UPDATE job_schedule_runs r
    SET status = CASE WHEN r.cancel_requested THEN 'CANCELLED' ELSE 'PENDING' END,
        attempt = CASE WHEN r.cancel_requested THEN r.attempt ELSE r.attempt + 1 END,
        max_attempts = CASE WHEN r.cancel_requested THEN r.max_attempts ELSE r.max_attempts + 1 END,
        attempts = {ENDED_ATTEMPT.format(outcome=_HANDED_BACK, error="NULL")},
        {_REQUEUED.format(delay="interval '0'")}
    WHERE r.status = 'RUNNING' AND r.worker_id = :worker_id AND r.id <> ALL(CAST(:keep AS bigint[]))
    RETURNING CASE WHEN r.cancel_requested AND {ASKS_TO_TELL} THEN r.run_id END
    """
)
_CANCEL_REQUESTS: Final = text(
    "SELECT id FROM job_schedule_runs WHERE status = 'RUNNING' AND worker_id = :worker_id AND cancel_requested"
)
_WAKE_WORKERS: Final = text("SELECT pg_notify('atf_runs', '')")


class PostgresRunQueue:
    """The queue that workers draw from. ``user_limit``: runs of a type that a user may have running; 0: any."""

    def __init__(self, database: Database, *, user_limit: int = 0) -> None:
        self._database = database
        self._user_limit = user_limit or _NO_LIMIT
        self._claimer = PinnedConnection(database)

    async def claim_runs(self, worker_id: WorkerId, wanted: Sequence[Wanted]) -> Sequence[ClaimedRun]:
        """Take due runs, if the worker's lease is alive: one statement for all types with limits, one a batch."""
        claimed: list[ClaimedRun] = []
        for one in wanted:
            if one.is_batch:
                claimed += await self._claim_batch(worker_id, one)
        limited = [one for one in wanted if not one.is_batch]
        if limited:
            claimed += await self._claim_limited(worker_id, limited)
        return claimed

    async def _claim_batch(self, worker_id: WorkerId, wanted: Wanted) -> list[ClaimedRun]:
        values = {"job_type": wanted.job_type, "limit": wanted.limit, "worker_id": worker_id}
        rows = await self._claimer.fetch((_CLAIM_BATCH, {**values, "runtimes": _runtimes([wanted])}))
        return [_claimed(row) for row in rows]

    async def _claim_limited(self, worker_id: WorkerId, wanted: Sequence[Wanted]) -> list[ClaimedRun]:
        types = [one.job_type for one in wanted]
        values = {
            "worker_id": worker_id,
            "types": types,
            "limits": [one.limit for one in wanted],
            "runtimes": _runtimes(wanted),
            "user_limit": self._user_limit,
        }
        rows = await self._claimer.fetch((_CLAIM_ALONE, {"types": types}), (_CLAIM, values))
        return [_claimed(row) for row in sorted(rows, key=_place)]

    async def close(self) -> None:
        """Close the connection that claims."""
        await self._claimer.close()

    async def finish(self, worker_id: WorkerId, outcomes: Outcomes) -> frozenset[int]:
        """Write outcomes down in one transaction; return the ids of those runs that the worker still held."""
        async with self._database.transaction() as connection:
            if len(outcomes) >= _MANY:
                await look_up_by_key(connection)
            finished = frozenset().union(
                await complete_runs(connection, worker_id, outcomes.completions),
                await _fail(connection, worker_id, outcomes.failures),
                await _put_back(connection, worker_id, outcomes.put_back),
                await _cancel(connection, worker_id, [one.run for one in outcomes.cancelled]),
            )
            await tell_of_ended(connection, [run.run_id for run in outcomes.runs if NOTIFY in run.snapshot])
            return finished

    async def put_back(self, worker_id: WorkerId, runs: Sequence[ClaimedRun], delay: timedelta) -> None:
        """Return runs to PENDING without costing an attempt."""
        await self.finish(worker_id, Outcomes(put_back=[PutBack(run, delay) for run in runs]))

    async def fail(self, worker_id: WorkerId, failures: Sequence[Failure]) -> None:
        """End runs as FAILED, or return them to PENDING with one more attempt."""
        await self.finish(worker_id, Outcomes(failures=failures))

    async def hand_back(self, worker_id: WorkerId, *, keep: Collection[int] = ()) -> int:
        """Return what this worker holds, but for ``keep``, to PENDING with one more attempt."""
        async with self._database.transaction() as connection:
            values = {"worker_id": worker_id, "keep": list(keep)}
            returned = list((await connection.execute(_HAND_BACK, values)).scalars())
            if returned:
                await connection.execute(_WAKE_WORKERS)
            await tell_of_ended(connection, [run_id for run_id in returned if run_id is not None])
            return len(returned)

    async def cancel_requests(self, worker_id: WorkerId) -> frozenset[int]:
        """Return the ids of the runs of this worker that somebody wants to be cancelled."""
        async with self._database.transaction() as connection:
            return frozenset((await connection.execute(_CANCEL_REQUESTS, {"worker_id": worker_id})).scalars())


async def look_up_by_key(connection: AsyncConnection) -> None:
    """Let the statements of this transaction find rows one by one, by their keys."""
    await connection.execute(_BY_KEY)


async def held_runs(
    connection: AsyncConnection, worker_id: WorkerId, runs: Sequence[ClaimedRun]
) -> frozenset[int]:
    """Lock the runs in key order; return the ids of those that the worker still holds."""
    return frozenset((await connection.execute(_HELD, _keys(worker_id, runs))).scalars())


async def complete_runs(
    connection: AsyncConnection, worker_id: WorkerId, completions: Sequence[Completion]
) -> frozenset[int]:
    """Complete runs within somebody's transaction; return the ids of those that the worker still held."""
    if not completions:
        return frozenset()
    runs = [completion.run for completion in completions]
    results, result_numbers = _numbered([_result(completion) for completion in completions])
    snapshots, snapshot_numbers = _numbered([_dumped(completion.used) for completion in completions])
    values = {
        **_keys(worker_id, runs),
        "results": results,
        "result_numbers": result_numbers,
        "snapshots": snapshots,
        "snapshot_numbers": snapshot_numbers,
    }
    completed = frozenset((await connection.execute(_COMPLETE, values)).scalars())
    await tell_replay(connection, runs)
    return completed


async def _fail(connection: AsyncConnection, worker_id: WorkerId, failures: Sequence[Failure]) -> frozenset[int]:
    if not failures:
        return frozenset()
    runs = [failure.run for failure in failures]
    values = {
        **_keys(worker_id, runs),
        "ends": [failure.is_permanent for failure in failures],
        "errors": [error_text(failure.error) for failure in failures],
        "details": [error_details(failure.error) for failure in failures],
        "delays": [failure.retry_in for failure in failures],
    }
    failed = frozenset((await connection.execute(_FAIL, values)).scalars())
    await tell_replay(connection, runs)
    return failed


async def _put_back(
    connection: AsyncConnection, worker_id: WorkerId, put_back: Sequence[PutBack]
) -> frozenset[int]:
    if not put_back:
        return frozenset()
    values = {**_keys(worker_id, [one.run for one in put_back]), "delays": [one.delay for one in put_back]}
    returned = frozenset((await connection.execute(_PUT_BACK, values)).scalars())
    await tell_replay(connection, [one.run for one in put_back])  # one that was to be cancelled has ended
    if any(not one.delay for one in put_back):
        await connection.execute(_WAKE_WORKERS)
    return returned


async def _cancel(connection: AsyncConnection, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> frozenset[int]:
    if not runs:
        return frozenset()
    cancelled = frozenset((await connection.execute(_CANCEL, _keys(worker_id, runs))).scalars())
    await tell_replay(connection, runs)
    return cancelled


async def tell_replay(connection: AsyncConnection, runs: Sequence[ClaimedRun]) -> None:
    """Wake the scheduler when a replay's runs end, as it then moves time on; live runs move nothing."""
    if any(run.key.retention_class == "replay" for run in runs):
        await connection.execute(text("SELECT pg_notify('atf_schedules', '')"))


def _runtimes(wanted: Sequence[Wanted]) -> str:
    return json.dumps({one.job_type: one.max_runtime.total_seconds() for one in wanted})


def _keys(worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> dict[str, Any]:
    classes, class_numbers = _numbered([run.key.retention_class for run in runs])
    return {
        "worker_id": worker_id,
        "classes": classes,
        "class_numbers": class_numbers,
        "instants": instants([to_nanoseconds(run.key.scheduled_for) for run in runs]),
        "ids": big_integers([run.key.id for run in runs]),
        "attempts": integers([run.attempt for run in runs]),
    }


def _numbered(texts: Sequence[str | None]) -> tuple[list[str], SentArray]:
    """Return the different texts, and for each its number in SQL, 0 for none: most of a batch say the same."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(t for t in texts if t is not None), 1)}
    return list(numbers), integers([0 if text is None else numbers[text] for text in texts])


def _place(row: tuple[Any, ...]) -> tuple[datetime, int]:
    """Return where a run stands in the queue; an UPDATE returns its rows as they lie in the table."""
    return row[-1], row[2]


def _claimed(row: tuple[Any, ...]) -> ClaimedRun:
    retention_class, scheduled_for, number, run_id, *rest, snapshot, version, waited, _ = row
    job_type, job_id, user_id, attempt, max_attempts = rest
    return ClaimedRun(
        RunKey(retention_class, scheduled_for, number),
        RunId(run_id),
        job_type,
        job_id,
        user_id,
        attempt,
        max_attempts,
        StoredDocument(snapshot),
        waited,
        version,
    )


def _result(completion: Completion) -> str:
    try:
        result = json.dumps(completion.result, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise UnstorableData(f"the result is not JSON: {exc}") from exc
    if len(result) > _LONGEST_RESULT:
        raise UnstorableData(f"the result has {len(result)} characters; {_LONGEST_RESULT} are possible")
    return result


def _dumped(document: Any) -> str | None:
    return None if document is None else json.dumps(document)
