"""BackgroundNotificationService: drains the outbox into the channels.

At least once: a kill between a channel's acceptance and our commit sends again, with the same key.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from atf.errors import AtfError, PermanentFailure, TemporaryFailure
from atf.jobs.lease import Lease
from atf.jobs.retry import BackOff
from atf.jobs.run import WorkerId
from atf.jobs.worker import Waiter
from atf.notifications.message import Delivery, DeliveryStatus, OutgoingMessage
from atf.pause_points import pause_point

_LOGGER = logging.getLogger(__name__)


class Channel(Protocol):
    """A way to reach a person."""

    name: str

    async def send(self, delivery: Delivery) -> str | None:
        """Send and return the provider's id of the message, if it gives one.

        Errors: TemporaryFailure to try again later, PermanentFailure to give up.
        """
        ...


@dataclass(frozen=True, slots=True)
class Settled:
    """How one try ended; ``retry_in`` is the wait before the next one of a PENDING delivery."""

    delivery: Delivery
    status: DeliveryStatus
    provider_message_id: str | None = None
    error: str | None = None
    retry_in: timedelta = timedelta(0)


class Outbox(Protocol):
    """The stored messages and deliveries."""

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        """Store messages with their deliveries; return how many were new."""
        ...

    async def claim(self, sender_id: WorkerId, channels: Sequence[str], limit: int) -> Sequence[Delivery]:
        """Take due deliveries, atomically, if the sender's lease is alive."""
        ...

    async def settle(self, sender_id: WorkerId, settled: Sequence[Settled]) -> None:
        """Record how tries ended; what was taken away meanwhile is left alone."""
        ...

    async def release_held(self, sender_id: WorkerId) -> int:
        """Return everything this sender still holds to PENDING."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """Time-outs and retries of a delivery."""

    timeout: timedelta = timedelta(seconds=30)
    retries: int = 3
    batch_size: int = 100
    poll: timedelta = timedelta(seconds=1)


class BackgroundNotificationService:
    """Claims due deliveries and sends them, one after another within a channel."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Sequence[Channel],
        lease: Lease,
        waiter: Waiter,
        *,
        policy: DeliveryPolicy | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._channels = {channel.name: channel for channel in channels}
        self._lease = lease
        self._waiter = waiter
        self._policy = policy or DeliveryPolicy()
        self._retry = BackOff(timedelta(seconds=10))
        self._reconnect = BackOff(timedelta(seconds=0.2), cap=timedelta(seconds=5))
        self._jitter = jitter

    async def queue_notification(self, message: OutgoingMessage) -> bool:
        """Store a message for delivery; return False if its key is stored already."""
        return bool(await self._outbox.add([message]))

    async def process_notifications(self) -> None:
        """Deliver until cancelled; whatever goes wrong is logged and tried again."""
        failures = 0
        try:
            while True:
                try:
                    if failures:
                        await self._outbox.release_held(await self._lease.acquire())
                    busy = await self._round()
                    failures = 0
                except (AtfError, OSError) as exc:
                    failures += 1
                    _LOGGER.warning("delivery round failed, trying again: %s", exc)
                    await asyncio.sleep(self._reconnect.delay(failures, self._jitter()).total_seconds())
                    continue
                if not busy:
                    await self._waiter.wait(self._policy.poll.total_seconds())
        finally:
            await asyncio.shield(self._hand_back())

    async def _round(self) -> bool:
        sender_id = await self._lease.acquire()
        claimed = await self._outbox.claim(sender_id, tuple(self._channels), self._policy.batch_size)
        if claimed:
            await pause_point("outbox.before_send")
            await self._lease.guard(asyncio.create_task(self._deliver(sender_id, claimed)))
        return bool(claimed)

    async def _deliver(self, sender_id: WorkerId, claimed: Sequence[Delivery]) -> None:
        lanes = [[d for d in claimed if d.channel == name] for name in self._channels]
        await asyncio.gather(*(self._deliver_in_order(sender_id, lane) for lane in lanes if lane))

    async def _deliver_in_order(self, sender_id: WorkerId, lane: Sequence[Delivery]) -> None:
        settled = [await self._try(delivery) for delivery in lane]
        await pause_point("outbox.after_send")
        await self._outbox.settle(sender_id, settled)

    async def _try(self, delivery: Delivery) -> Settled:
        try:
            async with asyncio.timeout(self._policy.timeout.total_seconds()):
                accepted = await self._channels[delivery.channel].send(delivery)
        except PermanentFailure as exc:
            return Settled(delivery, DeliveryStatus.FAILED, error=str(exc))
        except TimeoutError:
            return self._failed(delivery, f"no answer within {self._policy.timeout.total_seconds():g} s")
        except (TemporaryFailure, OSError) as exc:
            return self._failed(delivery, str(exc))
        return Settled(delivery, DeliveryStatus.SENT, provider_message_id=accepted)

    def _failed(self, delivery: Delivery, error: str) -> Settled:
        if delivery.attempts > self._policy.retries:
            return Settled(delivery, DeliveryStatus.DEAD, error=error)
        wait = self._retry.delay(delivery.attempts, self._jitter())
        return Settled(delivery, DeliveryStatus.PENDING, error=error, retry_in=wait)

    async def _hand_back(self) -> None:
        try:
            if not self._lease.is_over:
                await self._outbox.release_held(await self._lease.acquire())
        except AtfError as exc:
            _LOGGER.warning("deliveries could not be handed back, the rescuer will do it: %s", exc)
        await self._lease.release()
