"""Senders that are killed while quiet hours hold messages, and at their end, deliver each of them once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from atf.testing.processes import kill
from atf.testing.waiting import wait_for
from tests.chaos.site import Site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

MESSAGES: Final = 30
QUIET: Final = timedelta(seconds=20)
"""How long it is still quiet when the messages come: seconds, which a row can say and a command cannot."""


class QuietSite(Site):
    """A home whose owner wants quiet for some seconds more."""

    def be_quiet(self) -> datetime:
        """Begin quiet hours; when they end."""
        now = datetime.now(UTC)
        ends = now + QUIET
        self.query(
            "INSERT INTO msg_quiet_hours (user_id, begins, ends, timezone, days) "
            "VALUES (1, %(begins)s, %(ends)s, 'UTC', '{mon,tue,wed,thu,fri,sat,sun}')",
            begins=(now - timedelta(hours=1)).time(),
            ends=ends.time().replace(microsecond=0),
        )
        return ends.replace(microsecond=0)

    def write(self) -> None:
        self.query(
            """
            WITH written AS (
                INSERT INTO msg_messages (user_id, notification_type, title, body, dedup_key)
                SELECT 1, 'note', 'Night', 'message ' || n, to_char(n, 'FM00')
                FROM generate_series(1, %(count)s) n RETURNING id, dedup_key)
            INSERT INTO msg_deliveries (message_id, user_id, urgency, channel, dedup_key)
            SELECT id, 1, 2, 'console', dedup_key || ':console' FROM written ORDER BY id
            """,
            count=MESSAGES,
        )

    def are_held(self) -> bool:
        return self.count("SELECT count(*) FROM msg_deliveries WHERE held_until IS NOT NULL") == MESSAGES

    def are_sent(self) -> bool:
        sent = "SELECT count(*) FROM msg_deliveries WHERE status = 'SENT' AND channel = 'console'"
        return self.count(sent) == MESSAGES

    def is_sending(self) -> bool:
        return self.count("SELECT count(*) FROM workers WHERE 'channel:console' = ANY(types)") > 0

    def holds_its_breath(self) -> bool:
        return "paused at outbox.before_send" in self.output("notifications")

    def printed(self) -> list[str]:
        """The keys of the lines that the channel console has printed, in that order."""
        lines = self.output("notifications").splitlines()
        return [line[1:3] for line in lines if line.startswith("[") and ":console] Night" in line]


def test_held_messages_go_out_once_and_in_order_whoever_is_killed_meanwhile() -> None:
    with QuietSite() as site:
        first = site.ensure("notifications", 1)
        wait_for(site.is_sending, what="for the first sender")
        ends = site.be_quiet()
        site.write()
        wait_for(site.are_held, what="for the hold")
        kill(first.pid)
        first.wait()
        assert datetime.now(UTC) < ends
        site.environment["ATF_PAUSE_AT"] = "outbox.before_send"
        second = site.ensure("notifications", 2)
        del site.environment["ATF_PAUSE_AT"]
        wait_for(
            lambda: "paused at outbox.before_send" in site.output("notifications"), what="for the end of quiet"
        )
        assert datetime.now(UTC) >= ends
        assert site.printed() == []
        kill(second.pid)
        second.wait()
        site.ensure("scheduler", 1)  # its chores give back what the dead held
        site.ensure("notifications", 3)
        wait_for(site.are_sent, what="until all are sent")
        assert site.printed() == [f"{n:02}" for n in range(1, MESSAGES + 1)]
