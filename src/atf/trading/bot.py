"""A bot as it is stored: what a person wishes, what is, and how it may trade. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from atf.trading.order import BotId


class BotStatus(StrEnum):
    """What a bot does now; ``disabled`` is a person's word that it does nothing until it is enabled."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"
    DISABLED = "disabled"


class DesiredState(StrEnum):
    """What a person wishes; it survives every restart."""

    RUNNING = "running"
    STOPPED = "stopped"


class TradingState(StrEnum):
    """How a bot may trade: freely, only towards flat (a paused bot), or not at all."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class StartupPositionPolicy(StrEnum):
    """What becomes at a start of what the venue says a bot holds.

    resume: go on with it if books and venue agree, else stop and ask. adopt: take the venue's word into books.
    flatten: close it and begin flat. halt: stop and ask as soon as anything is held.
    """

    RESUME = "resume"
    ADOPT = "adopt"
    FLATTEN = "flatten"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class Bot:
    """A row of ``trading_bots``.

    ``version`` counts changes of the configuration; ``error_count`` restarts since it was last well for long.
    """

    id: BotId
    user_id: int
    name: str
    config: Mapping[str, Any]
    version: int
    desired_state: DesiredState
    status: BotStatus
    trading_state: TradingState
    started_at: datetime | None = None
    last_heartbeat: datetime | None = None
    error_count: int = 0
    last_error: str | None = None
    current_balance: Decimal | None = None
    total_pnl: Decimal | None = None
    node_id: str | None = None
    extra_metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None


CRASHED: Final = frozenset({BotStatus.RUNNING, BotStatus.STARTING})
"""What a bot's row says if its service was killed under it."""


def is_to_start(bot: Bot, *, after_crash: bool) -> bool:
    """Tell whether a starting service starts a bot.

    After a crash those that ran and whose owner wants them to run; else all that are not disabled and that nobody
    has stopped. Which bots start is all that a crash decides: what they hold is reconciled either way.
    """
    if bot.desired_state is not DesiredState.RUNNING or bot.status is BotStatus.DISABLED:
        return False
    return bot.status in CRASHED if after_crash else True
