"""BotState: how the bot stands with Telegram, for health and for whoever looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Standing(StrEnum):
    """How it stands."""

    NOT_CONFIGURED = "not configured"
    STARTING = "starting"
    RUNNING = "running"
    REJECTED = "token rejected"
    OCCUPIED = "another program polls with this token"
    UNREACHABLE = "Telegram cannot be reached"


@dataclass(slots=True)
class BotState:
    """The standing; ``last_update_at``: when something was heard; ``reached_at``: when Telegram last answered."""

    standing: Standing = Standing.NOT_CONFIGURED
    error: str | None = None
    username: str | None = None
    last_update_at: datetime | None = None
    reached_at: datetime | None = None

    def set(self, standing: Standing, error: str | None = None) -> bool:
        """Take another standing; return whether it is another one."""
        is_new = standing is not self.standing
        self.standing, self.error = standing, error
        return is_new
