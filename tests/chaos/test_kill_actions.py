"""A notification service that is killed after its channels accepted actions and before it could record that."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest

from atf.testing.processes import kill
from atf.testing.waiting import wait_for
from tests.chaos.site import Site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

BEGIN: Final = datetime(2024, 1, 1, tzinfo=UTC)
CLOSES: Final = (4, 6)
# While nobody sends, ATF itself writes of that to the inbox.
SENT: Final = (
    "SELECT count(*) FROM msg_deliveries d JOIN msg_messages m ON m.id = d.message_id "
    "WHERE d.status = 'SENT' AND m.notification_type IN ('alert', 'alert_action')"
)


class Receiver(ThreadingHTTPServer):
    """A webhook that accepts everything and notes the keys."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.keys: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Reads the request, then says yes."""

    server: Receiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Idempotency-Key"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - it is called so
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def prepare(site: Site, url: str) -> None:
    """Let an alert with both actions have a run that waits."""
    folder = site.home / "bars" / "1d"
    folder.mkdir(parents=True)
    days = [f"{(BEGIN + timedelta(days=n)).date()},{c},{c},{c},{c},1" for n, c in enumerate(CLOSES)]
    (folder / "T.csv").write_text("\n".join(["timestamp,open,high,low,close,volume", *days]))
    config = {
        "ticker": "T",
        "timeframe": "1d",
        "rule": {"indicator": "price", "operator": ">", "value": 5},
        "actions": [
            {"type": "bot", "bot_id": 7, "command": "signal", "when_late": "run"},
            {"type": "webhook", "url": url, "when_late": "run"},
        ],
    }
    added = site.run("alerts", "add", json.dumps(config))
    assert added.returncode == 0, added.stderr
    site.query("UPDATE alert_states SET history_until = %(begin)s", begin=BEGIN)
    site.ensure("scheduler", 1)  # it makes the partitions, and its chores give back what the dead held
    wait_for(
        lambda: site.count(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'job_schedule_runs_alert'::regclass"
        ),
        what="for the partitions",
    )
    site.query(
        """
        INSERT INTO job_schedule_runs (job_type, job_id, user_id, scheduled_for, retention_class, max_attempts,
                                       job_snapshot, sort_key)
        SELECT 'alert', id, user_id, date_trunc('minute', now()), 'alert', 1000, '{"version": 1}',
               job_sort_key(now(), 0, 0)
        FROM job_schedules
        """
    )


def test_a_kill_between_acceptance_and_commit_repeats_the_webhook_with_its_key_and_no_command() -> None:
    with receiving() as receiver, Site() as site:
        site.environment["ATF_WEBHOOK_ALLOWED_NETWORKS"] = "127.0.0.1"
        prepare(site, f"http://127.0.0.1:{receiver.server_port}/hook")
        site.environment["ATF_PAUSE_AT"] = "outbox.after_send"
        killed = site.ensure("notifications", 1)
        del site.environment["ATF_PAUSE_AT"]
        site.ensure("worker", 1)
        wait_for(lambda: site.count("SELECT count(*) FROM trading_bot_commands"), what="for the command")
        wait_for(lambda: receiver.keys, what="for the webhook")
        wait_for(
            lambda: site.output("notifications").count("paused at outbox.after_send") >= 2,
            what="until both channels have accepted",
        )
        assert site.count(SENT) == 0
        kill(killed.pid)
        killed.wait()
        site.ensure("notifications", 2)
        wait_for(
            lambda: site.count(SENT) == 3,
            what="until both actions and the message are sent",
        )
        ((trigger,),) = site.query("SELECT dedup_key FROM alert_triggers")
        assert site.query("SELECT dedup_key, bot_id, command FROM trading_bot_commands") == [
            (f"{trigger}:1:bot", 7, "signal")
        ]
        assert receiver.keys == [f"{trigger}:2:webhook"] * 2
        attempts = site.query("SELECT channel, attempts FROM msg_deliveries WHERE channel <> 'inbox' ORDER BY 1")
        assert attempts == [("bot", 1), ("webhook", 1)], "a kill costs no try"
