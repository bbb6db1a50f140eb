"""What bots are made of when users add and change them, and where they are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from atf.trading.bot import Bot, BotStatus
from atf.trading.bot_control import Act, Held
from atf.trading.bot_records import CommandRecord
from atf.trading.order import BotId


@dataclass(frozen=True, slots=True)
class NewBot:
    """A bot that is to be; its name is the user's own for it, one of each."""

    name: str
    config: Mapping[str, Any]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ConfigEdit:
    """Another configuration, or a merge patch (RFC 7396) of the present one.

    ``version``: only if it is still this one.
    """

    config: Mapping[str, Any] | None = None
    patch: Mapping[str, Any] | None = None
    version: int | None = None
    note: str = ""


class BotStore(Protocol):
    """Bots in the database. Whatever is changed wakes the trading service."""

    async def add(self, user_id: int, new: NewBot) -> Bot:
        """Store a stopped bot with its first version.

        Errors: Conflict if the user has one of that name, or as many as allowed.
        """
        ...

    async def get(self, user_id: int, bot_id: BotId) -> Bot | None:
        """Return a bot of the user that is not deleted."""
        ...

    async def list_bots(
        self, user_id: int, status: BotStatus | None, *, after_id: int, limit: int
    ) -> Sequence[Bot]:
        """Return the user's bots that are not deleted, oldest first."""
        ...

    async def store_config(self, known: Bot, config: Mapping[str, Any], note: str) -> Bot | None:
        """Store another version; None, and nothing is changed, if the bot is no longer the known version."""
        ...

    async def act(self, user_id: int, bot_id: BotId, decide: Callable[[Bot], Act]) -> Act | None:
        """Let a decision see the bot as it is, locked, and store what it makes of it; None if there is no bot.

        Errors: what the decision raises; Conflict if it gives the name of another bot.
        """
        ...

    async def command(
        self, user_id: int, bot_id: BotId, allow: Callable[[Bot], None], command: str, dedup_key: str
    ) -> CommandRecord | None:
        """Tell a bot to do something once: a key that was used, or a command that waits, is not added again."""
        ...

    async def delete(self, user_id: int, bot_id: BotId, allow: Callable[[Bot, Held], None]) -> Bot | None:
        """Take a bot out of sight; its history stays. Errors: what ``allow`` raises."""
        ...
