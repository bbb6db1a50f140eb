"""The main promise: whatever is killed, and whenever, the same triggers are decided and told."""

import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from atf.testing.waiting import wait_for
from tests.chaos.harness import Demo

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

SESSIONS = 150
KILLS = int(os.environ.get("ATF_CHAOS_KILLS", "20"))
VICTIMS = ("scheduler", "worker", "notifications", "postmaster", "all")
SEED = 20130301


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[Demo]:
    with Demo(SESSIONS) as demo:
        demo.begin()
        assert demo.finish() == 0, demo.told()
        yield demo


def test_twenty_kills_change_no_trigger_and_lose_no_message(undisturbed: Demo) -> None:
    chance = random.Random(SEED)
    sessions = sorted(chance.sample(range(2, SESSIONS - 2), KILLS))
    with Demo(SESSIONS) as demo:
        demo.begin()
        for i, session in enumerate(sessions):
            demo.wait_for_step(session)
            victim = VICTIMS[i % len(VICTIMS)]
            demo.strike(victim)
            if victim == "all":
                demo.begin()
        assert demo.finish() == 0, demo.told()
        assert demo.triggers() == undisturbed.triggers()
        assert demo.deliveries() == undisturbed.deliveries()
        printed = Counter(demo.printed_keys())
        assert set(printed) == set(undisturbed.printed_keys())
        in_flight_at_kills = KILLS * 1  # one sender, one line at a time
        assert sum(printed.values()) - len(printed) <= in_flight_at_kills


def test_two_schedulers_and_two_workers_make_and_complete_each_run_once(undisturbed: Demo) -> None:
    with Demo(SESSIONS) as demo:
        demo.begin()
        demo.wait_for_step(1)
        beside = demo.beside()
        beside.start("scheduler", "start")
        beside.start("worker", "start", "--name", "second")
        beside.start("notifications", "start")
        assert demo.finish() == 0, demo.told()
        wait_for(lambda: demo.query("SELECT 1 FROM job_schedule_runs WHERE worker_id LIKE 'second-%' LIMIT 1"))
        runs = demo.query(
            "SELECT count(*), count(DISTINCT (job_id, scheduled_for)), max(attempt) FROM job_schedule_runs"
        )
        assert runs == [(SESSIONS * 30, SESSIONS * 30, 1)]
        # Every commit of an alert's state counts its version up: one commit a run, not one more.
        assert demo.query("SELECT DISTINCT version FROM alert_states") == [(SESSIONS,)]
        assert demo.triggers() == undisturbed.triggers()
        assert {row[:4] for row in demo.deliveries()} == {row[:4] for row in undisturbed.deliveries()}


def test_a_message_committed_before_the_kill_is_delivered_after_it(undisturbed: Demo) -> None:
    del undisturbed  # only so that the two demos do not share the machine
    with Demo(30, environment={"ATF_PAUSE_AT": "outbox.before_send"}) as demo:
        demo.begin()
        wait_for(lambda: "paused at outbox.before_send" in demo.log("notifications"))
        held = {row[0] for row in demo.query("SELECT dedup_key FROM msg_deliveries WHERE status = 'SENDING'")}
        assert held
        demo.strike("all")
        assert not demo.printed_keys()
        demo.environment.clear()
        demo.begin()
        assert demo.finish() == 0, demo.told()
        assert held <= {
            row[0] for row in demo.query("SELECT dedup_key FROM msg_deliveries WHERE status = 'SENT'")
        }


def test_a_kill_between_evaluation_and_commit_costs_no_trigger(undisturbed: Demo) -> None:
    with Demo(SESSIONS, environment={"ATF_PAUSE_AT": "alerts.before_commit"}) as demo:
        demo.begin()
        wait_for(lambda: "paused at alerts.before_commit" in demo.log("worker"))
        demo.strike("all")
        assert demo.triggers() == set()
        demo.environment.clear()
        demo.begin()
        assert demo.finish() == 0, demo.told()
        assert demo.triggers() == undisturbed.triggers()
