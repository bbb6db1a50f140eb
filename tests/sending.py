"""Senders of channels that look at their outbox when a test tells them to, and tell when they have done all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from atf.clock import Clock
from atf.jobs.lease import Lease
from atf.lifecycle import Progress
from atf.notifications.channel import Channel
from atf.notifications.channel_sender import ChannelSender
from atf.notifications.letter_sender import DeliveryPolicy, Desk
from atf.storage.addresses_repository import PostgresAddresses
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.workers_repository import PostgresLeases
from atf.testing.letters import PlainWriter


class Waiter:
    """Lets a sender look again when the test says so. ``waits``: how often it had nothing to do."""

    def __init__(self) -> None:
        self.owner: asyncio.Task[None] | None = None
        self.waits = 0
        self._idle = asyncio.Event()
        self._woken = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Wait to be woken; the sender itself does so when it is idle, a shift of it while it works."""
        if asyncio.current_task() is self.owner:
            self.waits += 1
            self._idle.set()
        await self._woken.wait()
        self._woken.clear()
        return True

    def wake(self) -> None:
        """Say that there may be something new."""
        self._woken.set()

    async def is_idle(self) -> None:
        """Wait until the sender has nothing to do."""
        async with asyncio.timeout(60):
            await self._idle.wait()

    async def look(self) -> None:
        """Let the sender do what there is to do."""
        self._idle.clear()
        self.wake()
        await self.is_idle()


@asynccontextmanager
async def running(sender: ChannelSender, waiter: Waiter) -> AsyncIterator[Waiter]:
    """Let a sender work, from when it is first idle; it is stopped in the end."""
    async with started(sender, waiter):
        await waiter.is_idle()
        yield waiter


@asynccontextmanager
async def started(sender: ChannelSender, waiter: Waiter) -> AsyncIterator[asyncio.Task[None]]:
    """Let a sender work; it is stopped in the end."""
    task = waiter.owner = asyncio.create_task(sender.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def sender_on(
    database: Database,
    channel: Channel,
    waiter: Waiter,
    *,
    clock: Clock | None = None,
    policy: DeliveryPolicy | None = None,
    lease: timedelta = timedelta(minutes=5),
) -> ChannelSender:
    """Return a sender of a channel on a database, which waits as shortly as may be."""
    return ChannelSender(
        channel,
        Desk(PostgresOutbox(database, clock), PostgresAddresses(database), PlainWriter()),
        Lease(
            PostgresLeases(database),
            name=f"notifier-{channel.name}",
            types=[f"channel:{channel.name}"],
            length=lease,
        ),
        waiter,
        policy=policy or DeliveryPolicy(),
        progress=Progress(),
        jitter=lambda: 0.0,
    )


async def deliver(database: Database, *channels: Channel, clock: Clock | None = None) -> None:
    """Send all that is due on these channels, and stop."""
    async with asyncio.TaskGroup() as group:
        for channel in channels:
            group.create_task(_deliver(database, channel, clock))


async def _deliver(database: Database, channel: Channel, clock: Clock | None) -> None:
    waiter = Waiter()
    async with running(sender_on(database, channel, waiter, clock=clock), waiter):
        pass
