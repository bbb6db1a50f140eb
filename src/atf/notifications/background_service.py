"""BackgroundNotificationService: drains the outbox into the channels.

At least once: a kill between a channel's acceptance and our commit sends again, with the same key. Therefore
each send is committed before the next one of its channel begins.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from atf.errors import PermanentFailure, TemporaryFailure
from atf.jobs.claim_loop import ClaimLoop, Waiter
from atf.jobs.lease import Lease
from atf.jobs.retry import BackOff
from atf.jobs.run import WorkerId
from atf.lifecycle import Progress
from atf.notifications.message import Delivery, DeliveryStatus, OutgoingMessage
from atf.pause_points import pause_point

_LOGGER = logging.getLogger(__name__)


class Channel(Protocol):
    """A way to reach a person."""

    name: str
    is_idempotent: bool
    """Whether sending a delivery twice shows it once; such a channel's sends are committed in groups."""
    disturbs: bool
    """Whether a delivery may ring or wake somebody, so that it waits for the end of its user's quiet hours."""

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

    async def claim(
        self, sender_id: WorkerId, channels: Sequence[str], limit: int, *, disturbing: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        """Take due deliveries, atomically, if the sender's lease is alive.

        What is not urgent on a ``disturbing`` channel is put off to the end of its user's quiet hours.
        """
        ...

    async def settle(self, sender_id: WorkerId, settled: Sequence[Settled]) -> None:
        """Record how tries ended, and tell of failed actions; what was taken away meanwhile is left alone."""
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
    settle_group: int = 20
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
        progress: Progress | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._channels = {channel.name: channel for channel in channels}
        self._disturbing = tuple(channel.name for channel in channels if channel.disturbs)
        self._lease = lease
        self._policy = policy or DeliveryPolicy()
        self._retry = BackOff(timedelta(seconds=10))
        self._reconnect = BackOff(timedelta(seconds=0.2), cap=timedelta(seconds=5))
        self._progress = progress or Progress()
        self._loop = ClaimLoop(
            outbox, lease, waiter, poll=self._policy.poll, progress=self._progress, jitter=jitter
        )
        self._jitter = jitter

    async def queue_notification(self, message: OutgoingMessage) -> bool:
        """Store a message for delivery; return False if its key is stored already."""
        return bool(await self._outbox.add([message]))

    async def process_notifications(self) -> None:
        """Deliver until cancelled; whatever goes wrong is logged and tried again."""
        await self._loop.run(self._round, failure="delivery round failed")

    async def _round(self) -> bool:
        sender_id = await self._lease.acquire()
        claimed = await self._outbox.claim(
            sender_id, tuple(self._channels), self._policy.batch_size, disturbing=self._disturbing
        )
        if claimed:
            await pause_point("outbox.before_send")
            await self._lease.guard(asyncio.create_task(self._deliver(sender_id, claimed)))
        return bool(claimed)

    async def _deliver(self, sender_id: WorkerId, claimed: Sequence[Delivery]) -> None:
        lanes = [
            self._deliver_in_order(sender_id, channel, [d for d in claimed if d.channel == channel.name])
            for channel in self._channels.values()
        ]
        # Each lane comes to its end, whatever becomes of the others: what is under way must not be sent twice.
        ended = await asyncio.gather(*lanes, return_exceptions=True)
        for failure in filter(None, ended):
            raise failure

    async def _deliver_in_order(self, sender_id: WorkerId, channel: Channel, lane: Sequence[Delivery]) -> None:
        size = self._policy.settle_group if channel.is_idempotent else 1
        for first in range(0, len(lane), size):
            settled = [await self._try(channel, delivery) for delivery in lane[first : first + size]]
            await pause_point("outbox.after_send")
            await self._settle(sender_id, settled)

    async def _settle(self, sender_id: WorkerId, settled: Sequence[Settled]) -> None:
        """Record how tries ended; a database that is away is asked again for as long as the lease lives.

        Giving up would forget what was sent, and send it once more.
        """
        failures = 0
        while True:
            try:
                return await self._outbox.settle(sender_id, settled)
            except (TemporaryFailure, OSError) as exc:
                failures += 1
                _LOGGER.warning("%d tries of delivery not recorded, trying again: %s", len(settled), exc)
                await asyncio.sleep(self._reconnect.delay(failures, self._jitter()).total_seconds())

    async def _try(self, channel: Channel, delivery: Delivery) -> Settled:
        self._progress.mark()  # a round of many slow sends is no standstill
        try:
            async with asyncio.timeout(self._policy.timeout.total_seconds()):
                accepted = await channel.send(delivery)
        except PermanentFailure as exc:
            return Settled(delivery, DeliveryStatus.FAILED, error=str(exc))
        except TimeoutError:
            return self._failed(delivery, f"no answer within {self._policy.timeout.total_seconds():g} s")
        except TemporaryFailure as exc:
            return self._failed(delivery, str(exc), timedelta(seconds=exc.retry_after_seconds or 0))
        except Exception as exc:
            _LOGGER.exception("channel %s failed on delivery %d", channel.name, delivery.id)
            return self._failed(delivery, f"{type(exc).__name__}: {exc}")
        return Settled(delivery, DeliveryStatus.SENT, provider_message_id=accepted)

    def _failed(self, delivery: Delivery, error: str, asked: timedelta = timedelta(0)) -> Settled:
        """Return when to try again, not before the channel ``asked`` to, or that the tries are used up."""
        if delivery.attempts > self._policy.retries:
            return Settled(delivery, DeliveryStatus.DEAD, error=error)
        wait = max(asked, self._retry.delay(delivery.attempts, self._jitter()))
        return Settled(delivery, DeliveryStatus.PENDING, error=error, retry_in=wait)
