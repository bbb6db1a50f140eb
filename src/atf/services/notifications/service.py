"""NotificationsService: the background notification service under the contract of every service."""

from __future__ import annotations

from collections.abc import Callable

from atf.lifecycle import Progress, Service
from atf.notifications.background_service import BackgroundNotificationService


class NotificationsService(Service):
    """Counts as started after its first round, when the outbox has answered."""

    def __init__(self, notifications: BackgroundNotificationService, progress: Progress) -> None:
        super().__init__("notifications")
        self._notifications = notifications
        self._progress = progress

    async def _serve(self, started: Callable[[], None]) -> None:
        self._progress.on_first_mark(started)
        await self._notifications.process_notifications()
