"""The run table's partitions: days of alert runs, months of others, years of a replay."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.storage.database import Database

_PARTITION_LOCK: Final = 0x41_54_46_03
_BEHIND: Final = timedelta(days=1)
_AHEAD: Final = timedelta(days=3)
_NAME: Final = re.compile(r"job_schedule_runs_([a-z]+)_(\d{8})")


@dataclass(frozen=True, slots=True)
class Partition:
    """One leaf of the run table: [begin, end) of one retention class."""

    retention_class: str
    begin: datetime
    end: datetime

    @property
    def table(self) -> str:
        """The leaf's table name."""
        return f"{self.parent}_{self.begin:%Y%m%d}"

    @property
    def parent(self) -> str:
        """The table of all leaves of the class."""
        return f"job_schedule_runs_{self.retention_class}"


def partitions_between(retention_class: str, begin: datetime, end: datetime) -> Iterator[Partition]:
    """Yield the leaves of a class that cover the instants from ``begin`` to ``end``, both included. Pure."""
    start = _start(retention_class, begin.astimezone(UTC))
    while start <= end:
        after = _following(retention_class, start)
        yield Partition(retention_class, start, after)
        start = after


def _start(retention_class: str, instant: datetime) -> datetime:
    midnight = instant.replace(hour=0, minute=0, second=0, microsecond=0)
    match retention_class:
        case "alert":
            return midnight
        case "replay":
            return midnight.replace(month=1, day=1)
        case _:
            return midnight.replace(day=1)


def _following(retention_class: str, start: datetime) -> datetime:
    match retention_class:
        case "alert":
            return start + timedelta(days=1)
        case "replay":
            return start.replace(year=start.year + 1)
        case _:
            return (start + timedelta(days=32)).replace(day=1)


class PostgresPartitions:
    """Makes leaves beside the tree and attaches them, so that readers and writers are not blocked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure_ahead(self, now: datetime) -> int:
        """Make the leaves that runs around ``now`` need, and those of a replay to its end.

        Returns how many are new.
        """
        async with self._database.transaction() as connection:
            ends_at = (await connection.execute(text("SELECT ends_at FROM market_clock"))).scalar()
            wanted = [
                *partitions_between("alert", now - _BEHIND, now + _AHEAD),
                *partitions_between("other", now - _BEHIND, now + _AHEAD),
                *(partitions_between("replay", now - _BEHIND, ends_at) if ends_at else ()),
            ]
            return await make_missing(connection, wanted)


async def make_missing(connection: AsyncConnection, wanted: Sequence[Partition]) -> int:
    """Make those of the leaves that do not exist, within somebody's transaction; return how many are new."""
    if not await _missing(connection, wanted):
        return 0
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PARTITION_LOCK})
    missing = await _missing(connection, wanted)
    for partition in missing:
        await _make(connection, partition)
    return len(missing)


async def existing_leaves(connection: AsyncConnection) -> list[Partition]:
    """Return the leaves that there are, oldest first in each class."""
    named = (_NAME.fullmatch(table) for table in sorted(await _tables(connection)))
    begins = [(found[1], datetime.strptime(f"{found[2]}+0000", "%Y%m%d%z")) for found in named if found]
    return [Partition(name, begin, _following(name, begin)) for name, begin in begins]


async def _tables(connection: AsyncConnection) -> set[str]:
    tree = text("SELECT relid::regclass::text FROM pg_partition_tree('job_schedule_runs') WHERE isleaf")
    return set((await connection.execute(tree)).scalars())


async def _missing(connection: AsyncConnection, wanted: Sequence[Partition]) -> list[Partition]:
    existing = await _tables(connection)
    return [partition for partition in wanted if partition.table not in existing]


async def _make(connection: AsyncConnection, partition: Partition) -> None:
    """CREATE … PARTITION OF would lock the whole tree against everybody; ATTACH does not."""
    parent = partition.parent
    bounds = f"FROM ('{partition.begin.isoformat()}') TO ('{partition.end.isoformat()}')"
    await connection.execute(
        text(
            f"CREATE TABLE {partition.table} (LIKE {parent} INCLUDING ALL EXCLUDING IDENTITY) "
            "WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05, "
            "fillfactor = 70)"
        )
    )
    await connection.execute(text(f"ALTER TABLE {parent} ATTACH PARTITION {partition.table} FOR VALUES {bounds}"))
