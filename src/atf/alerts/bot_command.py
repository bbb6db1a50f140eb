"""What an alert tells a bot; the trading service decides what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class BotCommand:
    """What a bot is told to do: once, however often it is written; ``source`` is who says so."""

    dedup_key: str
    bot_id: int
    user_id: int
    command: str
    payload: Mapping[str, Any]
    source: str
