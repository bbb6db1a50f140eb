"""Taking history away: whole leaves of the run table by dropping them, everything else in small transactions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import TemporaryFailure
from atf.storage.advisory_lock import RETENTION_LOCK, is_alone
from atf.storage.database import Database
from atf.storage.partitions import Partition, existing_leaves

_CHUNK: Final = 10_000
# Who waits for the lock keeps everybody behind waiting too, so it is given up soon and tried again next time.
_SHORT: Final = text("SET LOCAL lock_timeout = '1s'")
# Each is one of the run table's partial indexes. A leaf of millions that nobody has analysed must not be read.
_BY_INDEX: Final = text("SET LOCAL enable_seqscan = off")
_OPEN: Final = (
    "EXISTS (SELECT FROM {leaf} WHERE status = 'PENDING' AND sort_key IS NOT NULL)",
    "EXISTS (SELECT FROM {leaf} WHERE status = 'PENDING' AND sort_key IS NULL)",
    "EXISTS (SELECT FROM {leaf} WHERE status = 'RUNNING')",
)
_DELETE_FINISHED: Final = text(
    """
    DELETE FROM job_schedule_runs r USING (
        SELECT retention_class, scheduled_for, id FROM job_schedule_runs
        WHERE retention_class IN ('alert', 'other') AND scheduled_for < :before AND finished_at < :before
          AND status IN ('COMPLETED', 'FAILED', 'CANCELLED')
        LIMIT :limit FOR UPDATE SKIP LOCKED) AS old
    WHERE r.retention_class = old.retention_class AND r.scheduled_for = old.scheduled_for AND r.id = old.id
    """
)
_PRUNE_MISFIRES: Final = text(
    """
    DELETE FROM job_misfires WHERE id = ANY(ARRAY(
        SELECT id FROM job_misfires WHERE noticed_at < :before LIMIT :limit FOR UPDATE SKIP LOCKED))
    """
)
_PRUNE_LOST_WORKERS: Final = text(
    """
    DELETE FROM workers_lost WHERE worker_id = ANY(ARRAY(
        SELECT worker_id FROM workers_lost WHERE lost_at < :before LIMIT :limit FOR UPDATE SKIP LOCKED))
    """
)
_PRUNE_RUN_DAYS: Final = text(
    """
    DELETE FROM user_run_days WHERE (user_id, day) IN (
        SELECT user_id, day FROM user_run_days WHERE day < :before LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)
_PRUNE_STATISTICS: Final = text(
    """
    DELETE FROM job_run_statistics WHERE (hour, user_id, job_type, status) IN (
        SELECT hour, user_id, job_type, status FROM job_run_statistics
        WHERE hour < :before LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)
_PRUNE_DEAD_LETTERS: Final = text(
    """
    DELETE FROM job_dead_letters WHERE id = ANY(ARRAY(
        SELECT id FROM (
            SELECT id, died_at, job_id,
                   row_number() OVER (PARTITION BY job_id ORDER BY died_at DESC, id DESC) AS place
            FROM job_dead_letters) AS d
        WHERE died_at < now() - CAST(:older_than AS interval) OR (job_id IS NOT NULL AND place > :most)
        LIMIT :limit))
    """
)
# What waits stays, however old it is. An inbox forgets with the messages.
_PRUNE_MESSAGES: Final = text(
    """
    WITH old AS (
        SELECT id FROM msg_messages m
        WHERE created_at < :before AND NOT EXISTS (
            SELECT FROM msg_deliveries d WHERE d.message_id = m.id AND d.status IN ('PENDING', 'SENDING'))
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED),
    unread AS (DELETE FROM msg_inbox i USING old WHERE i.message_id = old.id),
    sent AS (DELETE FROM msg_deliveries d USING old WHERE d.message_id = old.id)
    DELETE FROM msg_messages m USING old WHERE m.id = old.id
    """
)


class PostgresRetention:
    """What is taken away, as SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def drop_expired(self, alert_before: datetime, other_before: datetime) -> Sequence[str]:
        """Drop the leaves that end at or before these instants and hold no open run; return their names.

        A leaf that somebody else is using for longer than a second stays for the next time.

        Errors: DatabaseUnavailable if leaves had to stay, after the others are dropped.
        """
        before = {"alert": alert_before, "other": other_before}
        dropped: list[str] = []
        failure: TemporaryFailure | None = None
        for leaf in await self._expired(before):
            try:
                if await self._drop(leaf) is not None:
                    dropped.append(leaf.table)
            except TemporaryFailure as exc:
                failure = exc
        if failure is not None and not dropped:
            raise failure
        return dropped

    async def delete_finished_before(self, instant: datetime) -> int:
        """Delete the runs that ended before an instant; return how many.

        Whole leaves go first; runs in leaves that are partly expired are deleted in chunks. A replay's stay.
        """
        deleted = 0
        for leaf in await self._expired({"alert": instant, "other": instant}):
            deleted += await self._drop(leaf, counts=True) or 0
        return deleted + await self._in_chunks(_DELETE_FINISHED, before=instant)

    async def prune(self, *, misfires_before: datetime, statistics_before: datetime) -> int:
        """Delete old misfires, lost workers, counts of users' days (all by the misfires' age) and statistics.

        Return how many rows there were.
        """
        misfires = await self._in_chunks(_PRUNE_MISFIRES, before=misfires_before)
        lost = await self._in_chunks(_PRUNE_LOST_WORKERS, before=misfires_before)
        days = await self._in_chunks(_PRUNE_RUN_DAYS, before=misfires_before)
        return misfires + lost + days + await self._in_chunks(_PRUNE_STATISTICS, before=statistics_before)

    async def prune_messages(self, before: datetime) -> int:
        """Delete messages that were written before an instant and of which nothing waits; return how many."""
        return await self._in_chunks(_PRUNE_MESSAGES, before=before)

    async def prune_dead_letters(self, older_than: timedelta, most_of_a_schedule: int) -> int:
        """Delete old dead letters, and of each schedule all but the newest; return how many."""
        return await self._in_chunks(_PRUNE_DEAD_LETTERS, older_than=older_than, most=most_of_a_schedule)

    async def _expired(self, before: dict[str, datetime]) -> list[Partition]:
        async with self._database.transaction() as connection:
            leaves = await existing_leaves(connection)
        return [leaf for leaf in leaves if leaf.end <= before.get(leaf.retention_class, leaf.begin)]

    async def _drop(self, leaf: Partition, *, counts: bool = False) -> int | None:
        """Drop a leaf; return how many runs it held if that ``counts``, None if it has to stay.

        The parent is locked before the leaf, as by everybody who reads through it, and an open run that is
        being stored at this moment is either seen here or finds no leaf any more.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_SHORT)
            if not await is_alone(connection, RETENTION_LOCK):
                return None
            await connection.execute(text(f"LOCK TABLE ONLY {leaf.parent} IN ACCESS EXCLUSIVE MODE"))
            if not await _is_closed(connection, leaf):
                return None
            rows = (
                (await connection.execute(text(f"SELECT count(*) FROM {leaf.table}"))).scalar_one()
                if counts
                else 0
            )
            await connection.execute(text(f"DROP TABLE {leaf.table}"))
            return int(rows)

    async def _in_chunks(self, delete: TextClause, **values: object) -> int:
        deleted = 0
        while True:
            async with self._database.transaction() as connection:
                chunk = (await connection.execute(delete, {**values, "limit": _CHUNK})).rowcount
            deleted += chunk
            if chunk < _CHUNK:
                return deleted


async def _is_closed(connection: AsyncConnection, leaf: Partition) -> bool:
    """Whether a leaf is still there and all its runs have ended; both partial indexes are tiny."""
    if (await connection.execute(text("SELECT to_regclass(:name)"), {"name": leaf.table})).scalar() is None:
        return False
    await connection.execute(text(f"LOCK TABLE {leaf.table} IN ACCESS EXCLUSIVE MODE"))
    await connection.execute(_BY_INDEX)
    is_open = await connection.execute(text(f"SELECT {' OR '.join(_OPEN)}".format(leaf=leaf.table)))
    closed = not is_open.scalar_one()
    await connection.execute(text("SET LOCAL enable_seqscan = on"))
    return closed
