"""NotificationsService: the background notification service under the contract of every service."""

from __future__ import annotations

from collections.abc import Callable

from atf.lifecycle import Service
from atf.notifications.background_service import BackgroundNotificationService


class NotificationsService(Service):
    """Counts as started after the first round of a sender, when the outbox has answered."""

    def __init__(self, background: BackgroundNotificationService) -> None:
        super().__init__("notifications")
        self._background = background

    async def _serve(self, started: Callable[[], None]) -> None:
        self._background.progress.on_first_mark(started)
        await self._background.process_notifications()
