"""TelegramService: the notification service, and the bot if there is one, under the contract of every service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from atf.lifecycle import Service
from atf.notifications.background_service import BackgroundNotificationService


class Bot(Protocol):
    """A TelegramBot, as far as the service needs it."""

    async def start_polling(self) -> None:
        """Listen until cancelled."""
        ...


class TelegramService(Service):
    """Counts as started when messages are delivered; the bot may come later, or never."""

    def __init__(self, background: BackgroundNotificationService, bot: Bot | None) -> None:
        super().__init__("telegram")
        self._background = background
        self._bot = bot

    async def _serve(self, started: Callable[[], None]) -> None:
        self._background.progress.on_first_mark(started)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._background.process_notifications())
            if self._bot is not None:
                group.create_task(self._bot.start_polling())
