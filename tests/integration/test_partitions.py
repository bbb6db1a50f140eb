"""The run table's leaves: made ahead, by anybody, beside everybody's work."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from atf.errors import InvariantViolation
from atf.market.bars import Timeframe
from atf.storage.database import Database, DatabaseLimits
from atf.storage.market_clock_repository import PostgresMarketClock
from atf.storage.partitions import PostgresPartitions, make_missing, partitions_between

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

NOW = datetime(2024, 2, 28, 12, tzinfo=UTC)
LEAVES = """
    SELECT relid::regclass::text FROM pg_partition_tree('job_schedule_runs') WHERE isleaf ORDER BY 1"""
INSERT = """
    INSERT INTO job_schedule_runs (job_type, job_id, scheduled_for, retention_class)
    VALUES ('alert', :job_id, :instant, :retention_class)"""
PLACES = "SELECT tableoid::regclass::text FROM job_schedule_runs ORDER BY 1"


def names(retention_class: str, begin: datetime, end: datetime) -> list[str]:
    return [leaf.table for leaf in partitions_between(retention_class, begin, end)]


def test_alert_runs_lie_in_days() -> None:
    leaves = list(partitions_between("alert", NOW, NOW + timedelta(days=2)))
    assert [leaf.table[-8:] for leaf in leaves] == ["20240228", "20240229", "20240301"]
    assert [leaf.end for leaf in leaves[:-1]] == [leaf.begin for leaf in leaves[1:]]
    assert leaves[0].begin == datetime(2024, 2, 28, tzinfo=UTC)


def test_other_runs_lie_in_months() -> None:
    leaves = list(partitions_between("other", NOW.replace(month=11), NOW.replace(year=2025, month=1)))
    assert [leaf.table[-8:] for leaf in leaves] == ["20241101", "20241201", "20250101"]
    assert leaves[-1].end == datetime(2025, 2, 1, tzinfo=UTC)


def test_a_replays_runs_lie_in_years() -> None:
    leaves = list(partitions_between("replay", NOW, NOW + timedelta(days=400)))
    assert [leaf.table[-8:] for leaf in leaves] == ["20240101", "20250101"]
    assert leaves[-1].end == datetime(2026, 1, 1, tzinfo=UTC)


def test_both_ends_are_covered() -> None:
    midnight = datetime(2024, 3, 1, tzinfo=UTC)
    assert names("alert", midnight, midnight) == ["job_schedule_runs_alert_20240301"]
    assert names("other", midnight - timedelta(microseconds=1), midnight) == [
        "job_schedule_runs_other_20240201",
        "job_schedule_runs_other_20240301",
    ]


def test_days_are_those_of_utc() -> None:
    tokyo = datetime(2024, 3, 1, 8, tzinfo=timezone(timedelta(hours=9)))
    assert names("alert", tokyo, tokyo) == ["job_schedule_runs_alert_20240229"]


async def test_leaves_are_made_from_a_day_behind_to_three_ahead(database: Database, rows: Rows) -> None:
    assert await PostgresPartitions(database).ensure_ahead(NOW) == 7
    assert await rows.column(LEAVES) == [
        "job_schedule_runs_alert_20240227",
        "job_schedule_runs_alert_20240228",
        "job_schedule_runs_alert_20240229",
        "job_schedule_runs_alert_20240301",
        "job_schedule_runs_alert_20240302",
        "job_schedule_runs_other_20240201",
        "job_schedule_runs_other_20240301",
    ]


async def test_making_them_again_makes_only_what_is_new(database: Database) -> None:
    store = PostgresPartitions(database)
    await store.ensure_ahead(NOW)
    assert await store.ensure_ahead(NOW) == 0
    assert await store.ensure_ahead(NOW + timedelta(days=1)) == 1


async def test_a_replay_has_its_years_to_the_end(database: Database, rows: Rows) -> None:
    await PostgresMarketClock(database).begin(Timeframe.D1, NOW)
    await PostgresMarketClock(database).run_until(NOW + timedelta(days=800))
    await PostgresPartitions(database).ensure_ahead(NOW)
    replay = [leaf for leaf in await rows.column(LEAVES) if "replay" in leaf]
    assert [leaf[-8:] for leaf in replay] == ["20240101", "20250101", "20260101"]


async def test_makers_on_all_nodes_at_once_make_each_leaf_once(database: Database) -> None:
    store = PostgresPartitions(database)
    assert sorted(await asyncio.gather(*(store.ensure_ahead(NOW) for _ in range(4)))) == [0, 0, 0, 7]


async def test_runs_land_in_the_leaf_of_their_class_and_time(database: Database, rows: Rows) -> None:
    await PostgresMarketClock(database).begin(Timeframe.D1, NOW)
    await PostgresPartitions(database).ensure_ahead(NOW)
    for retention_class in ("alert", "other", "replay"):
        await rows.change(INSERT, job_id=1, instant=NOW, retention_class=retention_class)
    assert await rows.column(PLACES) == [
        "job_schedule_runs_alert_20240228",
        "job_schedule_runs_other_20240201",
        "job_schedule_runs_replay_20240101",
    ]
    assert len(set(await rows.column("SELECT id FROM job_schedule_runs"))) == 3


async def test_a_run_without_a_leaf_is_refused_and_not_put_anywhere(database: Database, rows: Rows) -> None:
    await PostgresPartitions(database).ensure_ahead(NOW)
    with pytest.raises(InvariantViolation, match="no partition"):
        await rows.change(INSERT, job_id=1, instant=NOW - timedelta(days=9), retention_class="alert")
    with pytest.raises(InvariantViolation, match="no partition"):
        await rows.change(INSERT, job_id=1, instant=NOW, retention_class="unheard of")


async def test_a_leaf_has_the_constraints_and_settings_of_the_tree(database: Database, rows: Rows) -> None:
    await PostgresPartitions(database).ensure_ahead(NOW)
    await rows.change(INSERT, job_id=1, instant=NOW, retention_class="alert")
    with pytest.raises(InvariantViolation, match="duplicate key"):
        await rows.change(INSERT, job_id=1, instant=NOW, retention_class="alert")
    with pytest.raises(InvariantViolation, match="status_check"):
        await rows.change(
            "INSERT INTO job_schedule_runs (job_type, scheduled_for, retention_class, status) "
            "VALUES ('alert', :instant, 'alert', 'LOST')",
            instant=NOW,
        )
    options = await rows.value(
        "SELECT reloptions FROM pg_class WHERE oid = to_regclass('job_schedule_runs_alert_20240228')"
    )
    assert "fillfactor=70" in options


async def test_leaves_are_made_while_others_write_and_read_the_run_table(
    database: Database, database_url: str, rows: Rows
) -> None:
    await PostgresPartitions(database).ensure_ahead(NOW)
    impatient = Database(database_url, limits=DatabaseLimits(lock_timeout=timedelta(milliseconds=300)))
    async with database.transaction() as writer, database.transaction() as reader:
        values = {"job_id": 1, "instant": NOW, "retention_class": "alert"}
        await writer.execute(text(INSERT), values)
        await writer.execute(text("UPDATE job_schedule_runs SET priority = 1"))
        await reader.execute(text("SELECT count(*) FROM job_schedule_runs"))
        assert await PostgresPartitions(impatient).ensure_ahead(NOW + timedelta(days=30)) > 0
    await impatient.close()


async def test_others_write_and_read_the_run_table_while_leaves_are_made(
    database: Database, database_url: str
) -> None:
    await PostgresPartitions(database).ensure_ahead(NOW)
    impatient = Database(database_url, limits=DatabaseLimits(lock_timeout=timedelta(milliseconds=300)))
    async with database.transaction() as maker:
        leaves = list(partitions_between("alert", NOW + timedelta(days=9), NOW + timedelta(days=9)))
        assert await make_missing(maker, leaves) == 1
        async with impatient.transaction() as other:
            await other.execute(text(INSERT), {"job_id": 1, "instant": NOW, "retention_class": "alert"})
            assert (await other.execute(text("SELECT count(*) FROM job_schedule_runs"))).scalar() == 1
    await impatient.close()
