"""What the senders of channels need of the store: who sends, what is due, how tries ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from atf.jobs.run import WorkerId
from atf.notifications.message import Attachment, Delivery, DeliveryStatus, OutgoingMessage
from atf.notifications.sending_metrics import ChannelDepth


@dataclass(frozen=True, slots=True)
class Settled:
    """How one try ended.

    ``retry_in``: the wait before the next one of a PENDING delivery. ``counts``: whether it is one of the tries
    that a delivery has; an outage is none. ``unreachable``: nothing reaches this address any more.
    """

    delivery: Delivery
    status: DeliveryStatus
    provider_message_id: str | None = None
    error: str | None = None
    retry_in: timedelta = timedelta(0)
    counts: bool = True
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class ChannelPause:
    """That a channel is out of order: failures in a row, how long it is left alone from now on, and why."""

    failures: int
    remaining: timedelta
    error: str


class Outbox(Protocol):
    """The stored messages and deliveries."""

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        """Store messages with their deliveries; return how many were new."""
        ...

    async def take_channel(self, sender_id: WorkerId, channel: str) -> ChannelPause | bool:
        """Become the one sender of a channel, if nobody whose lease is alive is; True if one is it already.

        What another sender has left behind is PENDING again. A pause that it has noted is returned.
        """
        ...

    async def claim(
        self,
        sender_id: WorkerId,
        channel: str,
        limit: int,
        *,
        disturbs: bool,
        crowded: Collection[tuple[int, int]] = (),
    ) -> Sequence[Delivery]:
        """Take due deliveries, urgent ones first, if the sender's lease is alive and the channel is its own.

        Nothing is taken of ``crowded`` users and urgencies, nor what is behind a delivery of its lane that waits
        for another try. What is not urgent, on a channel that disturbs, is put off to the end of its user's quiet
        hours, or to the next digest that the user wishes.
        """
        ...

    async def attachments(self, message_id: int) -> Sequence[Attachment]:
        """Return the files that go with a message, in their order."""
        ...

    async def settle(
        self, sender_id: WorkerId, settled: Sequence[Settled], untouched: Collection[int] = ()
    ) -> None:
        """Record how tries ended, and give deliveries back that were not tried, in one transaction.

        Failed actions are told, and what failed for good goes to the user's fallback channel. What was taken away
        meanwhile is left alone.
        """
        ...

    async def note_pause(self, sender_id: WorkerId, channel: str, pause: ChannelPause | None) -> None:
        """Say for everybody that the channel is paused, or that it works again."""
        ...

    async def depth(self) -> Mapping[str, ChannelDepth]:
        """Return what waits, by channel."""
        ...

    async def release_held(self, sender_id: WorkerId) -> int:
        """Give back all deliveries and channels that this sender still holds."""
        ...
