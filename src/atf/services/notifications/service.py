"""NotificationsService: the background notification service under the contract of every service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from atf.lifecycle import Progress, Service
from atf.notifications.background_service import BackgroundNotificationService


class NotificationsService(Service):
    """Loops of deliveries side by side, each for channels of its own.

    Counts as started after the first round of one that marks ``progress``, when the outbox has answered.
    """

    def __init__(self, loops: Sequence[BackgroundNotificationService], progress: Progress) -> None:
        super().__init__("notifications")
        self._loops = loops
        self._progress = progress

    async def _serve(self, started: Callable[[], None]) -> None:
        """They end together, so that what they hold is given back at once and not one after another."""
        self._progress.on_first_mark(started)
        async with asyncio.TaskGroup() as group:
            for loop in self._loops:
                group.create_task(loop.process_notifications())
