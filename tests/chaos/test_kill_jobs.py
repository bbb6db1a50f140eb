"""Two schedulers and two workers, killed at random: each due run ends exactly once, and nothing stays RUNNING."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from atf.testing.processes import kill
from atf.testing.waiting import wait_for
from tests.chaos.job_plugin import JobPlugin
from tests.chaos.site import Site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

RUNS: Final = int(os.environ.get("ATF_CHAOS_RUNS", "500"))
FEWEST_KILLS: Final = 5
SCHEDULES: Final = 50
SECONDS_BETWEEN_KILLS: Final = (0.3, 1.5)
_SERVICES: Final = ("scheduler", "worker")


class JobSite(Site):
    """Services whose runs leave traces."""

    def __init__(self, folder: Path) -> None:
        self.plugin = JobPlugin(folder / "plugin")
        path = os.pathsep.join([str(self.plugin.folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        super().__init__({"PYTHONPATH": path})

    def ensure_all(self) -> None:
        """Start what does not run: two schedulers and two workers."""
        for service in _SERVICES:
            for number in (1, 2):
                self.ensure(service, number)

    def add_schedules(self, count: int, job_type: str) -> None:
        """Store schedules that are due every second and that run however late they are."""
        for number in range(count):
            added = self.run(
                *("schedules", "add", job_type, "--target", f"t{number}", "--cron", "* * * * * *"),
                *("--misfire", "run_all", "--grace", "86400", "--max-instances", "1000"),
            )
            assert added.returncode == 0, added.stderr

    def run_gated(self) -> None:
        """Run once what waits for the gate "go"."""
        gated = ("--target", "t", "--params", '{"gate": "go"}', "--cron", "0 0 1 1 *")
        added = self.run("schedules", "add", "noted", *gated)
        assert added.returncode == 0, added.stderr
        assert self.run("schedules", "run", "1").returncode == 0

    def add_many(self, count: int, job_type: str) -> None:
        """Store one schedule as a user does, and its copies by SQL: starting a process for each takes long."""
        self.add_schedules(1, job_type)
        self.query(
            """
            INSERT INTO job_schedules (user_id, name, job_type, target, cron, timezone, next_run_at,
                                       effective_from, group_id, max_instances, misfire_policy,
                                       misfire_grace_seconds)
            SELECT user_id, name || n, job_type, target || n, cron, timezone, next_run_at, effective_from,
                   group_id, max_instances, misfire_policy, misfire_grace_seconds
            FROM job_schedules, generate_series(2, %(count)s) n WHERE job_type = %(job_type)s
            """,
            count=count,
            job_type=job_type,
        )


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobSite]:
    folder = tmp_path_factory.mktemp("site")
    for parent in (folder, *folder.parents):
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    with JobSite(folder) as site:
        yield site


def due_runs(site: JobSite) -> int:
    return site.count("SELECT count(*) FROM job_schedule_runs")


def unfinished(site: JobSite) -> int:
    return site.count("SELECT count(*) FROM job_schedule_runs WHERE status IN ('PENDING', 'RUNNING')")


def completed(site: JobSite) -> int:
    return site.count("SELECT count(*) FROM job_schedule_runs WHERE status = 'COMPLETED'")


def has_ticked(site: JobSite, runs: int) -> bool:
    return due_runs(site) > runs


def has_gone_on(site: JobSite, runs: int) -> bool:
    return completed(site) > runs


def require_once_each(site: JobSite) -> None:
    """Each second of each schedule has exactly one run, from the first to the last; all have completed."""
    assert (
        site.query("SELECT status, count(*) FROM job_schedule_runs WHERE status <> 'COMPLETED' GROUP BY 1") == []
    )
    gaps = site.query(
        """
        SELECT job_id, count(*), count(DISTINCT scheduled_for),
               extract(epoch FROM max(scheduled_for) - min(scheduled_for))::int + 1
        FROM job_schedule_runs GROUP BY job_id
        HAVING count(*) <> count(DISTINCT scheduled_for)
            OR count(*) <> extract(epoch FROM max(scheduled_for) - min(scheduled_for))::int + 1
        """
    )
    assert gaps == [], "a schedule has a second without a run, or with two"
    assert site.query("SELECT * FROM job_misfires") == []


def require_effects(site: JobSite) -> None:
    """Handlers' effects are at least once, no attempt has been made twice, and the last one is the stored one."""
    effects = site.plugin.effects()
    twice = [
        effect for effect, count in Counter((run, attempt) for run, attempt, _ in effects).items() if count > 1
    ]
    assert twice == [], "an attempt was made by two"
    made: dict[str, set[int]] = {}
    for run, attempt, _ in effects:
        made.setdefault(run, set()).add(attempt)
    stored = site.query("SELECT run_id::text, attempt, (result ->> 'attempt')::int FROM job_schedule_runs")
    for run, attempt, told in stored:
        assert told == attempt, "the result is that of another attempt"
        assert attempt in made.get(run, set()), "a completed run has left no effect"


def test_kills_of_schedulers_and_workers_lose_and_double_no_run(site: JobSite) -> None:
    chance = random.Random(RUNS)
    site.add_many(SCHEDULES - 5, "noted")
    site.add_many(5, "heavy_noted")
    site.ensure_all()
    kills = 0
    while due_runs(site) < RUNS or kills < FEWEST_KILLS:
        time.sleep(chance.uniform(*SECONDS_BETWEEN_KILLS))
        victim = chance.choice([one for one in site.services.values() if one.poll() is None])
        kill(victim.pid)
        victim.wait()
        kills += 1
        before = due_runs(site)
        site.ensure_all()
        # On a slow machine a scheduler needs longer to start than it lives here: then none would ever tick.
        wait_for(partial(has_ticked, site, before), patience=60, what="until a scheduler has ticked")
    site.query("UPDATE job_schedules SET enabled = false")
    wait_for(lambda: unfinished(site) == 0, patience=180, what="until every run has ended")
    require_once_each(site)
    require_effects(site)


def test_restart_of_the_database_in_the_middle_needs_no_restart_of_a_service(site: JobSite) -> None:
    site.add_many(20, "noted")
    site.ensure_all()
    started = {name: process.pid for name, process in site.services.items()}
    wait_for(lambda: completed(site) > 40, what="until work has begun")
    for _ in range(3):
        before = completed(site)
        site.kill_postmasters()
        site.handle.ensure()
        wait_for(partial(has_gone_on, site, before + 40), patience=60, what="until work goes on")
    site.query("UPDATE job_schedules SET enabled = false")
    wait_for(lambda: unfinished(site) == 0, patience=120, what="until every run has ended")
    assert {name: process.pid for name, process in site.services.items() if process.poll() is None} == started
    require_once_each(site)
    require_effects(site)


def test_late_result_of_a_worker_that_was_stopped_for_longer_than_its_lease_is_refused(site: JobSite) -> None:
    site.ensure("scheduler", 1)
    site.ensure("worker", 1)
    added = site.run(
        "schedules", "add", "noted", "--target", "t", "--params", '{"gate": "go"}', "--cron", "0 0 1 1 *"
    )
    assert added.returncode == 0, added.stderr
    assert site.run("schedules", "run", "1").returncode == 0
    wait_for(lambda: len(site.plugin.effects()) == 1, what="until the first worker has begun")
    sleeper = site.services["worker-1"]
    sleeper.send_signal(signal.SIGSTOP)
    try:
        site.ensure("worker", 2)
        wait_for(lambda: len(site.plugin.effects()) == 2, what="until the second worker has begun")
        site.plugin.open_gate("go")
        wait_for(lambda: unfinished(site) == 0, what="until the second worker is done")
        before = site.query("SELECT status, attempt, result, worker_id, finished_at FROM job_schedule_runs")
    finally:
        sleeper.send_signal(signal.SIGCONT)
    quick = site.run("schedules", "run", "1")  # both workers are at work again, whoever takes it
    assert quick.returncode == 0, quick.stderr
    wait_for(lambda: completed(site) == 2)
    after = site.query(
        "SELECT status, attempt, result, worker_id, finished_at FROM job_schedule_runs ORDER BY id LIMIT 1"
    )
    assert after == before
    ((status, attempt, result, *_),) = before
    assert (status, attempt, result["attempt"]) == ("COMPLETED", 2, 2)
    assert result["pid"] == site.services["worker-2"].pid


def test_drain_at_the_end_of_a_worker_finishes_or_hands_back(site: JobSite) -> None:
    site.environment["SCHEDULER_SHUTDOWN_TIMEOUT"] = "3"
    site.ensure("scheduler", 1)
    site.ensure("worker", 1)
    site.run_gated()
    wait_for(lambda: len(site.plugin.effects()) == 1, what="until the worker has begun")
    ending = site.services["worker-1"]
    ending.send_signal(signal.SIGTERM)
    assert ending.wait(timeout=20) == 0
    ((status, attempt, worker_id),) = site.query("SELECT status, attempt, worker_id FROM job_schedule_runs")
    assert (status, attempt, worker_id) == ("PENDING", 2, None)
    site.plugin.open_gate("go")
    site.ensure("worker", 2)
    wait_for(lambda: unfinished(site) == 0, what="until the next worker has done it")
    assert site.query("SELECT status, attempt FROM job_schedule_runs") == [("COMPLETED", 2)]


def test_a_run_whose_workers_are_killed_tells_of_its_end_once(site: JobSite) -> None:
    site.ensure("scheduler", 1)
    for run, gate in ((1, "go"), (2, "never")):
        site.ensure("worker", 1)
        wanted = ("--target", "t", "--params", f'{{"gate": "{gate}"}}', "--notify", "inbox")
        started = site.run("runs", "start", "noted", *wanted)
        assert started.returncode == 0, started.stderr
        wait_for(partial(has_begun, site, 2 * run - 1), what="until it has begun")
        if gate == "never":
            site.query("UPDATE job_schedule_runs SET max_attempts = 2 WHERE status = 'RUNNING'")
        kill_worker(site)
        site.ensure("worker", 1)
        wait_for(partial(has_begun, site, 2 * run), what="until it has begun again")
        assert len(told(site)) == run - 1, "an attempt that is made again is no end"
        if gate == "go":
            site.plugin.open_gate("go")
        else:
            kill_worker(site)
        wait_for(lambda: unfinished(site) == 0, what="until it has ended")
    assert [title for title, _ in told(site)] == ["noted t is done", "noted t has failed"]
    assert "died in attempt 2" in told(site)[1][1]
    assert site.query("SELECT reason FROM job_dead_letters") == [("worker_lost",)]


def has_begun(site: JobSite, attempts: int) -> bool:
    return len(site.plugin.effects()) == attempts


def kill_worker(site: JobSite) -> None:
    worker = site.services["worker-1"]
    kill(worker.pid)
    worker.wait()


def told(site: JobSite) -> list[tuple[str, str]]:
    found = site.query("SELECT title, body FROM msg_messages WHERE dedup_key LIKE 'run-ended:%%' ORDER BY id")
    return [(title, body) for title, body in found]
