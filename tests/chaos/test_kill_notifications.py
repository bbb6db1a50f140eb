"""A notification service that is killed at random instants: nothing is lost or overtakes, and few come twice."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Sequence
from typing import Final

import pytest

from atf.notifications.message import OutgoingMessage, Priority
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.testing.processes import kill
from atf.testing.waiting import wait_for
from tests.chaos.judging import Written, judge
from tests.chaos.site import Site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

MESSAGES: Final = int(os.environ.get("ATF_CHAOS_MESSAGES", "400"))
KILLS: Final = int(os.environ.get("ATF_CHAOS_KILLS", "8"))
USERS: Final = range(2, 7)
PRIORITIES: Final = (Priority.NORMAL, Priority.NORMAL, Priority.HIGH, Priority.URGENT)
UNDER_WAY: Final = 1
"""What channel console has under way at once."""
_LONGEST_BREATH: Final = 0.03
"""Seconds from what is seen to the kill: some letters long."""
_KEY: Final = re.compile(r"^\[(?P<key>\d+):console\] .*\n", re.MULTILINE)


class Letters(Site):
    """A home with five users, whose notification service is killed and started again."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.environment["ATF_WORKER_LEASE_SECONDS"] = "1"
        self.chance = chance
        self.written: list[Written] = []
        self.lives: list[list[str]] = []

    def make_users(self) -> None:
        self.query("INSERT INTO users (name, role) SELECT 'user-' || n, 'viewer' FROM generate_series(2, 6) n")

    def write(self, count: int) -> None:
        """Hand over messages, a few at a time, to whom and how urgent as it comes."""
        messages = [self._message(len(self.written) + number) for number in range(count)]
        self.written += [Written(one.dedup_key, (one.user_id, str(one.priority))) for one in messages]
        asyncio.run(self._add(messages))

    def _message(self, number: int) -> OutgoingMessage:
        user_id, priority = self.chance.choice(USERS), self.chance.choice(PRIORITIES)
        key = f"{number:06}"
        return OutgoingMessage(user_id, "note", "Title", f"message {key}", key, ("console",), priority=priority)

    async def _add(self, messages: Sequence[OutgoingMessage]) -> None:
        database = Database(self.handle.url())
        outbox, rest = PostgresOutbox(database), list(messages)
        while rest:
            size = self.chance.randint(1, 20)
            await outbox.add(rest[:size])
            rest = rest[size:]
        await database.close()

    def printed(self) -> list[str]:
        """The keys of all lines so far; one that was cut by a kill was not accepted."""
        return _KEY.findall(self.output("notifications"))

    def live_until(self, letters: int, more: int) -> None:
        """Let one service live until it has sent some of more letters, and kill it a moment later."""
        before = len(self.printed())
        service = self.ensure("notifications", len(self.lives))
        self.write(more)
        wait_for(lambda: len(self.printed()) >= before + letters, what=f"for {letters} letters")
        time.sleep(self.chance.uniform(0, _LONGEST_BREATH))  # the instant of the kill is any
        kill(service.pid)
        service.wait()
        self.lives.append(self.printed()[before:])

    def live_to_the_end(self) -> None:
        """Let one service send all that is left."""
        before = len(self.printed())
        self.ensure("notifications", len(self.lives))
        wait_for(self.are_sent, what="until all are sent")
        self.lives.append(self.printed()[before:])

    def are_sent(self) -> bool:
        sent = "SELECT count(*) FROM msg_deliveries WHERE status = 'SENT' AND channel = 'console'"
        return self.count(sent) == len(self.written)


@pytest.mark.parametrize("seed", [1])
def test_whoever_is_killed_every_message_is_sent_in_order_and_no_more_twice_than_was_under_way(seed: int) -> None:
    chance = random.Random(seed)
    with Letters(chance) as site:
        site.make_users()
        share = MESSAGES // (KILLS + 1)
        for _ in range(KILLS):
            site.live_until(chance.randint(1, max(1, share // 2)), share)
        site.write(MESSAGES - KILLS * share)
        site.live_to_the_end()
        judge(site.written, site.lives, under_way=UNDER_WAY)
        assert site.query(
            "SELECT DISTINCT status, attempts, waits FROM msg_deliveries WHERE channel = 'console'"
        ) == [("SENT", 1, False)]
