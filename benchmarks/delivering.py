"""The delivery engine against a channel that takes everything at once, and a burst for one chat."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import text

from atf.adapters.channels.telegram import TelegramChannel
from atf.jobs.lease import Lease
from atf.lifecycle import Progress
from atf.notifications.channel import Channel, ChannelLimits, Letter, Reach, TextForm
from atf.notifications.channel_sender import ChannelSender
from atf.notifications.letter_sender import DeliveryPolicy, Desk
from atf.notifications.letter_writer import LetterWriter
from atf.notifications.message import OutgoingMessage
from atf.storage.addresses_repository import PostgresAddresses
from atf.storage.database import Database
from atf.storage.listener import Listener
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.workers_repository import PostgresLeases
from atf.testing.telegram import local_telegram
from benchmarks.measure import BenchmarkError, Observation

USERS = 500
_CHAT = 111
_CHUNK = 500
_PATIENCE_SECONDS = 120.0


@dataclass
class InstantChannel:
    """Takes every letter at once."""

    name: str = "instant"
    is_idempotent: bool = False
    disturbs: bool = True
    reach: Reach = Reach.SHARED
    form: TextForm = TextForm.PLAIN
    limits: ChannelLimits = field(default_factory=lambda: ChannelLimits(concurrency=16))
    taken: int = 0

    async def send(self, letter: Letter) -> str | None:
        self.taken += 1
        return None

    async def close(self) -> None:
        pass


async def deliver(database: Database, count: int) -> Observation:
    """Deliver messages of many users; return how many a second, their commits included."""
    await _prepare(database)
    await _write(database, "instant", count, USERS)
    channel = InstantChannel()
    seconds = await _sent(database, channel, count)
    if channel.taken != count:
        raise BenchmarkError(f"{channel.taken} letters for {count} messages")
    return {"per_second": count / seconds}


async def burst(database: Database, count: int) -> Observation:
    """Write messages of one second to one chat at a Telegram with limits; return letters and seconds."""
    await _prepare(database)
    async with local_telegram() as telegram:
        chat = telegram.private_chat(user_id=_CHAT)
        async with database.transaction() as connection:
            await connection.execute(
                text("INSERT INTO user_identities (user_id, kind, value) VALUES (1, 'telegram', :chat)"),
                {"chat": str(_CHAT)},
            )
        await _write(database, "telegram", count, 1)
        channel = TelegramChannel(telegram.token, base_url=telegram.url)
        seconds = await _sent(database, channel, count)
        told = "\n".join(message.text for message in chat.messages)
        lost = sum(f"message {number} " not in told for number in range(count))
        return {
            "letters": len(chat.messages),
            "seconds": seconds,
            "lost": lost,
            "violations": len(telegram.violations),
        }


async def _prepare(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            text("TRUNCATE msg_messages, msg_deliveries, msg_channels, user_identities CASCADE")
        )
        await connection.execute(
            text(
                "INSERT INTO users (name, role) SELECT 'u' || n, 'trader' FROM generate_series(2, :n) n "
                "ON CONFLICT DO NOTHING"
            ),
            {"n": USERS},
        )


async def _write(database: Database, channel: str, count: int, users: int) -> None:
    outbox = PostgresOutbox(database)
    for first in range(0, count, _CHUNK):
        await outbox.add(
            [
                OutgoingMessage(
                    user_id=1 + number % users,
                    notification_type="note",
                    title="Price",
                    body=f"message {number} : AAPL is above 150.25 at 16:00",
                    dedup_key=f"bench:{number}",
                    channels=(channel,),
                )
                for number in range(first, min(count, first + _CHUNK))
            ]
        )


async def _sent(database: Database, channel: Channel, count: int) -> float:
    """Run a sender until all is recorded as sent; return the seconds."""
    listener = Listener(database.direct_url, ["atf_outbox"])
    await listener.start()
    desk = Desk(PostgresOutbox(database), PostgresAddresses(database), LetterWriter())
    lease = Lease(
        PostgresLeases(database),
        name="bench",
        types=[f"channel:{channel.name}"],
        length=timedelta(seconds=15),
    )
    sender = ChannelSender(channel, desk, lease, listener.branch(), policy=DeliveryPolicy(), progress=Progress())
    began_at = time.perf_counter()
    sending = asyncio.create_task(sender.run())
    try:
        while desk.metrics.of(channel.name).outcomes["sent"] < count:
            await asyncio.sleep(0.005)
            if time.perf_counter() - began_at > _PATIENCE_SECONDS:
                raise BenchmarkError(f"not delivered within {_PATIENCE_SECONDS:g} s")
        return time.perf_counter() - began_at
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        await listener.stop()
