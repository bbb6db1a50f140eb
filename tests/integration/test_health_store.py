"""The registry, the heartbeats and the numbers, on a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from atf.errors import InvariantViolation
from atf.health.checks import CheckOutcome
from atf.health.heartbeat_manager import Heartbeat
from atf.health.service_registry import ServiceInstance
from atf.health.statistics import DatabaseProbe
from atf.health.status import HealthStatus
from atf.jobs.lease import Holder
from atf.jobs.run import WorkerId
from atf.storage.database import Database
from atf.storage.health_repository import PostgresHeartbeats
from atf.storage.partitions import PostgresPartitions
from atf.storage.registry_repository import PostgresRegistry
from atf.storage.statistics_repository import PostgresStatistics
from atf.storage.workers_repository import PostgresLeases

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

ENDPOINTS = {"health": "http://127.0.0.1:8002/health"}


def instance(name: str = "scheduler-1") -> ServiceInstance:
    return ServiceInstance(name, "scheduler", "host", 4711, "0.1.0", ENDPOINTS)


def heartbeat(component: str = "scheduler-1", outcome: CheckOutcome | None = None) -> Heartbeat:
    return Heartbeat("scheduler", component, 60, outcome or CheckOutcome(HealthStatus.HEALTHY))


async def test_an_instance_is_registered_seen_and_removed_with_its_report(database: Database, rows: Rows) -> None:
    registry, heartbeats = PostgresRegistry(database), PostgresHeartbeats(database)
    await registry.register(instance())
    await heartbeats.save(heartbeat())
    await heartbeats.save(heartbeat("another"))
    await rows.change(
        "UPDATE service_registry SET last_seen_at = now() - interval '31 s', started_at = '2020-01-01Z'"
    )
    (found,) = await registry.instances()
    assert (found.service, found.host, found.pid, found.endpoints) == ("scheduler", "host", 4711, ENDPOINTS)
    assert found.is_stale
    await registry.register(instance())
    (found,) = await registry.instances()
    assert not found.is_stale
    assert found.started_at == datetime(2020, 1, 1, tzinfo=UTC)
    await registry.remove(["scheduler-1", "unknown"])
    assert await registry.instances() == []
    assert [report.component for report in await heartbeats.reports()] == ["another"]


async def test_the_last_heartbeat_of_a_component_stands_and_an_old_one_is_down(
    database: Database, rows: Rows
) -> None:
    heartbeats = PostgresHeartbeats(database)
    await heartbeats.save(heartbeat())
    said = CheckOutcome(HealthStatus.DEGRADED, 12, "slow\0", {"queue": 3})
    await heartbeats.save(heartbeat(outcome=said))
    (found,) = await heartbeats.reports()
    assert (found.system, found.component, found.status) == ("scheduler", "scheduler-1", HealthStatus.DEGRADED)
    assert (found.response_time_ms, found.error_message) == (12, "slow")
    assert found.metadata == {"queue": 3, "interval_seconds": 60}
    await rows.change("UPDATE msg_system_health SET last_heartbeat = now() - interval '181 s'")
    assert [report.status for report in await heartbeats.reports()] == [HealthStatus.DOWN]


async def test_only_the_four_words_are_stored(rows: Rows) -> None:
    with pytest.raises(InvariantViolation):
        await rows.change("INSERT INTO msg_system_health (system, status) VALUES ('x', 'healthy')")


async def test_a_live_alert_worker_makes_the_evaluator_ready(database: Database, rows: Rows) -> None:
    statistics = PostgresStatistics(database)
    assert await statistics.probe() == DatabaseProbe(has_alert_worker=False, is_job_store_readable=True)
    await rows.worker("dead", lease=timedelta(seconds=-1))
    assert not (await statistics.probe()).has_alert_worker
    await rows.worker("live")
    assert (await statistics.probe()).has_alert_worker
    await rows.change("ALTER TABLE apscheduler_jobs RENAME TO gone")
    assert await statistics.probe() == DatabaseProbe(has_alert_worker=True, is_job_store_readable=False)


async def test_an_empty_database_has_numbers_too(database: Database) -> None:
    found = await PostgresStatistics(database).statistics()
    assert (found.total_schedules, found.enabled_schedules, found.pending_runs) == (0, 0, 0)
    assert (found.runs_24h, found.success_rate, found.avg_duration, found.max_duration) == (0, 1.0, 0.0, 0.0)
    assert found.common_errors == []


async def finish(rows: Rows, job: int, status: str, seconds: float, error: str | None = None) -> None:
    await rows.change("UPDATE job_schedule_runs SET status = 'RUNNING' WHERE job_id = :job", job=job)
    await rows.change(
        """
        UPDATE job_schedule_runs SET status = :status, error = :error, finished_at = now(),
               started_at = now() - CAST(:took AS interval) WHERE job_id = :job
        """,
        status=status,
        error=error,
        took=timedelta(seconds=seconds),
        job=job,
    )


async def test_the_last_day_is_counted_and_what_is_older_is_not(database: Database, rows: Rows) -> None:
    await rows.pending_runs(5)
    await rows.pending_runs(2, job_type="report", retention_class="other", first_job_id=10)
    await finish(rows, 1, "COMPLETED", 1)
    await finish(rows, 2, "COMPLETED", 3)
    await finish(rows, 3, "FAILED", 9, "Timeout: too slow")
    await finish(rows, 10, "FAILED", 9, "Timeout: much too slow")
    await finish(rows, 11, "FAILED", 9, "ZeroDivisionError: division by zero")
    found = await PostgresStatistics(database).statistics()
    assert {name: (queue.waiting, queue.delayed, queue.running) for name, queue in found.queue.items()} == {
        "alert": (2, 0, 0)
    }
    assert (found.completed_24h, found.failed_24h) == (2, 3)
    assert found.success_rate == pytest.approx(0.4)
    assert found.avg_duration == pytest.approx(2)
    assert found.max_duration == pytest.approx(3)
    assert found.common_errors == [("Timeout", 2), ("ZeroDivisionError", 1)]
    assert not found.is_estimated
    await rows.change("UPDATE job_schedule_runs SET finished_at = finished_at - interval '25 hours'")
    await rows.partitions(datetime.now(UTC) - timedelta(days=2))
    await rows.change(
        "UPDATE job_schedule_runs SET scheduled_for = scheduled_for - interval '25 hours' "
        "WHERE status = 'COMPLETED'"
    )
    assert (await PostgresStatistics(database).statistics()).runs_24h == 0


async def test_of_much_history_a_sample_is_read(database: Database, rows: Rows) -> None:
    await rows.pending_runs(20_000)
    await rows.change("UPDATE job_schedule_runs SET status = 'RUNNING'")
    await rows.change(
        "UPDATE job_schedule_runs "
        "SET status = 'COMPLETED', started_at = now() - interval '2 s', finished_at = now()"
    )
    exact = await PostgresStatistics(database).statistics()
    assert (exact.completed_24h, exact.is_estimated) == (20_000, False)
    sampled = await PostgresStatistics(database, most_bytes=2_000_000).statistics()
    assert sampled.is_estimated
    assert 10_000 < sampled.completed_24h < 30_000
    assert sampled.avg_duration == pytest.approx(2, abs=0.01)


async def test_a_replay_counts_by_when_its_runs_ended(database: Database, rows: Rows) -> None:
    await rows.change(
        "INSERT INTO market_clock (timeframe, begins_at, now_at, ends_at) "
        "VALUES ('1d', '2001-01-01Z', '2001-01-01Z', '2001-12-31Z')"
    )
    await PostgresPartitions(database).ensure_ahead(datetime(2001, 1, 2, tzinfo=UTC))
    await rows.change(
        """
        INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, status,
                                       started_at, finished_at)
        VALUES ('alert', 1, 1, '2001-03-01Z', 'replay', 'COMPLETED', now() - interval '1 s', now())
        """
    )
    assert (await PostgresStatistics(database).statistics()).runs_24h == 0
    assert (await PostgresStatistics(database, is_replay=True).statistics()).runs_24h == 1


async def test_the_queue_is_told_by_type_with_the_age_of_its_oldest_run(database: Database, rows: Rows) -> None:
    await rows.pending_runs(2)
    await rows.pending_runs(1, available_in=timedelta(hours=1), first_job_id=7)
    await rows.pending_runs(1, job_type="report", retention_class="other", first_job_id=10)
    await rows.change("UPDATE job_schedule_runs SET status = 'RUNNING' WHERE job_type = 'report'")
    await rows.change(
        "UPDATE job_schedule_runs SET available_at = now() - interval '90 seconds', "
        "enqueued_at = now() - interval '90 seconds' WHERE job_id = 1"
    )
    queue = (await PostgresStatistics(database).statistics()).queue
    assert (queue["alert"].waiting, queue["alert"].delayed, queue["report"].running) == (2, 1, 1)
    assert queue["alert"].oldest_seconds == pytest.approx(90, abs=20)
    assert queue["report"].oldest_seconds == 0


async def test_trouble_is_counted(database: Database, rows: Rows) -> None:
    await rows.change(
        "INSERT INTO job_dead_letters "
        "(run_id, job_type, scheduled_for, reason, attempt, max_attempts, requeued_at) "
        "VALUES (gen_random_uuid(), 'report', now(), 'exhausted', 3, 3, NULL), "
        "(gen_random_uuid(), 'report', now(), 'exhausted', 3, 3, now())"
    )
    await rows.pending_runs(2)
    await rows.worker("gone", lease=timedelta(seconds=-1))
    await rows.change("UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = 'gone'")
    await PostgresLeases(database).rescue()
    trouble = (await PostgresStatistics(database).statistics()).trouble
    assert (trouble.misfires, trouble.dead_letters) == (0, 1)
    assert (trouble.lost_workers, trouble.rescued_runs) == (1, 2)


async def test_slots_of_living_workers_are_added_up(database: Database, rows: Rows) -> None:
    leases = PostgresLeases(database)
    for name, slots in (("a", {"report": 3}), ("b", {"report": 4, "alert": 1})):
        await leases.register(Holder(WorkerId(name), "host", 1, tuple(slots), name, slots), timedelta(minutes=1))
    await leases.register(Holder(WorkerId("dead"), "host", 1, (), "dead", {"report": 50}), timedelta(seconds=-1))
    statistics = await PostgresStatistics(database).statistics()
    assert {name: found.slots for name, found in statistics.queue.items()} == {"report": 7, "alert": 1}
    assert statistics.workers == 2
