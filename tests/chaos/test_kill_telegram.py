"""The bot's process killed while it delivers: Telegram gets every message, in order, and few of them twice."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections import defaultdict
from typing import Final

import pytest

from atf.testing.processes import kill
from atf.testing.telegram import Fault, LocalTelegram, TelegramLimits, local_telegram
from tests.chaos.site import Site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3000)]

KILLS: Final = min(50, max(4, int(os.environ.get("ATF_CHAOS_KILLS", "4"))))
MESSAGES: Final = int(os.environ.get("ATF_CHAOS_MESSAGES", str(100 * KILLS)))
CHATS: Final = 40
CONCURRENCY: Final = 16
"""Letters that the channel has under way at once."""
FIRST_CHAT: Final = 1000
FAULTS: Final = (Fault.THROTTLED, Fault.BROKEN, Fault.BAD_GATEWAY, Fault.CUT, Fault.SLOW)
"""What Telegram does now and then, without having taken the message."""
_WORD: Final = re.compile(r"\bm(\d{5})p([012])\b")


class TelegramSite(Site):
    """A home whose users are all at Telegram."""

    def settle(self, telegram: LocalTelegram) -> None:
        self.environment |= {
            "ATF_TELEGRAM_TOKEN": telegram.token,
            "ATF_TELEGRAM_API_URL": telegram.url,
            "ATF_WORKER_LEASE_SECONDS": "1",
        }
        self.query(
            "INSERT INTO users (name, role) SELECT 'u' || n, 'trader' FROM generate_series(2, %(chats)s) n",
            chats=CHATS,
        )
        self.query(
            "INSERT INTO user_identities (user_id, kind, value) "
            "SELECT n, 'telegram', (%(first)s + n)::text FROM generate_series(1, %(chats)s) n",
            chats=CHATS,
            first=FIRST_CHAT,
        )

    def write(self, first: int, count: int) -> None:
        """Write messages, a third of each priority, for all in turn."""
        self.query(
            """
            WITH written AS (
                INSERT INTO msg_messages (user_id, notification_type, priority, title, body, dedup_key)
                SELECT 1 + n %% %(chats)s, 'note', (ARRAY['urgent', 'high', 'normal'])[1 + n %% 3], 'Kill',
                       'm' || to_char(n, 'FM00000') || 'p' || n %% 3, 'm' || n
                FROM generate_series(%(first)s, %(first)s + %(count)s - 1) n ORDER BY n
                RETURNING id, user_id, dedup_key, priority)
            INSERT INTO msg_deliveries (message_id, user_id, urgency, channel, dedup_key)
            SELECT id, user_id, array_position(ARRAY['urgent', 'high', 'normal'], priority) - 1, 'telegram',
                   dedup_key || ':telegram' FROM written ORDER BY id
            """,
            chats=CHATS,
            first=first,
            count=count,
        )

    def unsent(self) -> int:
        return self.count("SELECT count(*) FROM msg_deliveries WHERE status <> 'SENT'")


async def test_every_message_reaches_telegram_in_order_whatever_is_killed() -> None:
    async with local_telegram(limits=TelegramLimits.off()) as telegram:
        for number in range(1, CHATS + 1):
            telegram.private_chat(user_id=FIRST_CHAT + number)
        await asyncio.to_thread(deliver_under_kills, telegram, asyncio.get_running_loop())
        judge(telegram)
        assert len(telegram.accepted) > 0


def deliver_under_kills(telegram: LocalTelegram, loop: asyncio.AbstractEventLoop) -> None:
    with TelegramSite() as site:
        site.settle(telegram)
        share = MESSAGES // KILLS
        for number in range(KILLS):
            process = site.ensure("telegram", 1)
            accepted = len(telegram.accepted)
            site.write(number * share, share)
            loop.call_soon_threadsafe(misbehave, telegram)
            wait_for_letters(telegram, accepted)
            kill(process.pid)
            process.wait()
        site.write(KILLS * share, MESSAGES - KILLS * share)
        site.ensure("telegram", 1)
        loop.call_soon_threadsafe(telegram.behave)
        deadline = time.monotonic() + 240
        while site.unsent():
            assert time.monotonic() < deadline, site.output("telegram")[-2000:]
            time.sleep(0.1)
        assert site.count("SELECT count(*) FROM msg_deliveries WHERE attempts > 1") == 0


def misbehave(telegram: LocalTelegram) -> None:
    telegram.misbehave(random.choice(FAULTS), method="sendMessage", times=2)


def wait_for_letters(telegram: LocalTelegram, before: int) -> None:
    """Wait until the process delivers, and then for an instant that nobody knows."""
    deadline = time.monotonic() + 60
    while len(sent(telegram)) <= before and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.3))


def sent(telegram: LocalTelegram) -> list[tuple[int, str]]:
    return [(call.chat_id or 0, call.text) for call in telegram.accepted if call.method == "sendMessage"]


def judge(telegram: LocalTelegram) -> None:
    """All were told, in the order of writing by chat and priority; copies only of what was under way at kills."""
    seen: set[str] = set()
    newest: dict[tuple[int, str], str] = defaultdict(str)
    letters_again = 0
    for chat_id, text in sent(telegram):
        words = _WORD.findall(text)
        letters_again += any(number in seen for number, _ in words)
        for number, priority in words:
            if number in seen:
                continue
            assert 1 + int(number) % CHATS == chat_id - FIRST_CHAT
            assert number > newest[chat_id, priority], f"m{number} came after m{newest[chat_id, priority]}"
            newest[chat_id, priority] = number
            seen.add(number)
    assert len(seen) == MESSAGES
    assert letters_again <= KILLS * CONCURRENCY
