"""Workers that are killed in the middle of large batches of alerts lose no trigger and tell none twice."""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, LiteralString

import pytest

from atf.testing.processes import kill
from atf.testing.waiting import wait_for
from tests.chaos.site import Site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

ALERTS: Final = 5_000
BATCH: Final = 1_000
KILLS: Final = max(3, int(os.environ.get("ATF_CHAOS_KILLS", "20")) // 4)
BEGIN: Final = datetime(2024, 1, 1, tzinfo=UTC)
CLOSES: Final = (4, 6, 6, 4, 6, 5, 7, 4, 4, 6)
CONFIG: Final = {
    "ticker": "T",
    "timeframe": "1d",
    "rule": {"indicator": "price", "operator": "crosses_above", "value": 5},
    "rearm": {"type": "simple"},
}
CROSSES: Final = (1, 4, 9)
"""The bars on which the price comes from below; meeting the level on bar 5 is no change of sides."""


class AlertSite(Site):
    """Many copies of one alert, of which none has looked at any of the bars yet."""

    def __init__(self, alerts: int = ALERTS, batch: int = BATCH) -> None:
        super().__init__({"ATF_WORKER_BATCH_SIZE": str(batch)})
        self.alerts = alerts

    def prepare(self) -> None:
        folder = self.home / "bars" / "1d"
        folder.mkdir(parents=True)
        rows = [
            f"{(BEGIN + timedelta(days=i)).date()},{close},{close},{close},{close},1"
            for i, close in enumerate(CLOSES)
        ]
        (folder / "T.csv").write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]))
        added = self.run("alerts", "add", json.dumps(CONFIG))
        assert added.returncode == 0, added.stderr
        self.query("UPDATE alert_states SET history_until = %(begin)s", begin=BEGIN)
        self.query(
            """
            WITH made AS (
                INSERT INTO job_schedules (user_id, name, job_type, target, task_params, cron, created_at,
                                           effective_from, group_id)
                SELECT user_id, name, job_type, target, task_params, cron, created_at, effective_from, group_id
                FROM job_schedules, generate_series(2, %(count)s) WHERE id = 1 RETURNING id)
            INSERT INTO alert_states (schedule_id, gate, status, data_status, rule_hash, history_until, version)
            SELECT made.id, gate, status, data_status, rule_hash, history_until, version
            FROM alert_states, made WHERE schedule_id = 1
            """,
            count=self.alerts,
        )

    def ring(self, times: int = 1) -> None:
        """Let all alerts have runs that wait, in no order; the scheduler makes the partitions."""
        leaves: LiteralString = (
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'job_schedule_runs_alert'::regclass"
        )
        wait_for(lambda: self.count(leaves) > 0, what="for the partitions")
        self.query(
            """
            INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class,
                                           max_attempts, job_snapshot, sort_key)
            SELECT 'alert', id, user_id, date_trunc('minute', now()) + n * interval '1 minute', 'alert', 1000,
                   '{"version": 1}', job_sort_key(now() - random() * interval '1 minute', 0, 0)
            FROM job_schedules, generate_series(0, %(times)s - 1) AS n
            """,
            times=times,
        )

    def require_each_trigger_once(self) -> None:
        decided = self.query(
            "SELECT array_agg(bar_time ORDER BY bar_time), count(*) FROM alert_triggers GROUP BY schedule_id"
        )
        days = [BEGIN + timedelta(days=day) for day in CROSSES]
        assert [(times, number) for times, number in decided] == [(days, len(days))] * self.alerts
        # After an outage an alert's triggers are told in one digest; each has its message all the same.
        ((messages, keys, deliveries),) = self.query(
            "SELECT count(DISTINCT m.id), count(DISTINCT m.dedup_key), count(d.id) "
            "FROM msg_messages m LEFT JOIN msg_deliveries d ON d.message_id = m.id "
            "WHERE m.notification_type = 'alert'"
        )
        triggers = len(days) * self.alerts
        assert (messages, keys, deliveries) == (triggers, triggers, self.alerts)
        states = self.query("SELECT DISTINCT trigger_count, last_bar, sides FROM alert_states")
        assert states == [(len(days), BEGIN + timedelta(days=len(CLOSES) - 1), {"0": "above"})]

    def has_done(self, number: int) -> bool:
        return self.done() >= number

    def done(self) -> int:
        return self.count("SELECT count(*) FROM job_schedule_runs WHERE status = 'COMPLETED'")


def test_no_trigger_is_lost_or_doubled_when_workers_are_killed_in_their_batches() -> None:
    random.seed(7)
    with AlertSite() as site:
        site.prepare()
        site.ensure("scheduler", 1)  # its chores give back what the dead held
        site.ring()
        site.environment["ATF_PAUSE_AT"] = "alerts.before_commit"
        held = site.ensure("worker", 1)
        del site.environment["ATF_PAUSE_AT"]
        wait_for(lambda: "paused at alerts.before_commit" in site.output("worker"), what="for the first batch")
        assert site.done() == 0
        kill(held.pid)
        held.wait()
        for number in range(KILLS):
            target = site.done() + random.randint(1, ALERTS // KILLS // 2)
            worker = site.ensure("worker", 2 + number % 2)
            wait_for(partial(site.has_done, target), what=f"until {target} are done")
            kill(worker.pid)
            worker.wait()
        site.ensure("worker", 4)
        wait_for(lambda: site.done() == ALERTS, what="until all are done")
        site.require_each_trigger_once()


def test_two_workers_share_alerts_that_are_due_several_times_without_a_deadlock() -> None:
    alerts, times = 500, 5
    with AlertSite(alerts, batch=100) as site:
        site.prepare()
        site.ensure("scheduler", 1)
        site.ring(times)
        for number in (1, 2):
            site.ensure("worker", number)
        wait_for(lambda: site.done() == alerts * times, what="until all are done")
        site.require_each_trigger_once()
        both = site.query("SELECT count(DISTINCT worker_id) FROM job_schedule_runs")
        assert both == [(2,)]
        assert site.query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
