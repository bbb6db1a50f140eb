"""BackgroundNotificationService: takes messages in and has each channel's sender deliver them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from atf.errors import AtfError
from atf.lifecycle import Progress
from atf.notifications.channel_sender import ChannelSender
from atf.notifications.message import OutgoingMessage
from atf.notifications.outbox import Outbox
from atf.notifications.sending_metrics import SendingMetrics

_DEPTH_SECONDS: Final = 10.0


class BackgroundNotificationService:
    """The senders of all channels of a process, and the way into the outbox; it needs no bot and no HTTP."""

    def __init__(
        self, outbox: Outbox, senders: Sequence[ChannelSender], metrics: SendingMetrics, progress: Progress
    ) -> None:
        self._outbox = outbox
        self._senders = senders
        self._metrics = metrics
        self._progress = progress

    @property
    def metrics(self) -> SendingMetrics:
        """What was sent, and what waits."""
        return self._metrics

    @property
    def progress(self) -> Progress:
        """When any of the senders came round last."""
        return self._progress

    async def queue_notification(self, message: OutgoingMessage) -> bool:
        """Store a message for delivery; return False if its key is stored already."""
        return bool(await self._outbox.add([message]))

    async def process_notifications(self) -> None:
        """Deliver until cancelled; whatever goes wrong is logged and tried again.

        The senders end together, so that what they hold is given back at once and not one after another.
        """
        async with asyncio.TaskGroup() as group:
            for sender in self._senders:
                group.create_task(sender.run())
            group.create_task(self._watch_depth())

    async def _watch_depth(self) -> None:
        """Look at what waits every few seconds, for whoever asks how the service is."""
        while True:
            with contextlib.suppress(AtfError, OSError):  # the senders say that the database is away
                self._metrics.depth = await self._outbox.depth()
            await asyncio.sleep(_DEPTH_SECONDS)
