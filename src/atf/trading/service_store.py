"""What the trading service needs to know of bots and sessions, and what it writes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from atf.notifications.message import OutgoingMessage
from atf.trading.books import BotEvent
from atf.trading.bot import Bot, BotStatus
from atf.trading.order import BotId


@dataclass(frozen=True, slots=True)
class Session:
    """One life of a trading service; ``boot_id`` tells whether its machine was started anew since."""

    node_id: str
    host: str
    pid: int
    boot_id: str
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a bot did last, None as long as it has not done it.

    ``bar_at``: open time of the last bar that is done. ``loop_at``: its process had time. ``ack_at``: its venue
    answered. ``waiting``: bars that it has not begun with. ``memory_bytes`` of its process.
    """

    bar_at: datetime | None
    loop_at: datetime | None
    ack_at: datetime | None
    waiting: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Beat:
    """How a bot is: when it last made progress, what it is worth, and how often it failed since it was well."""

    bot_id: BotId
    at: datetime
    balance: Decimal
    total_pnl: Decimal
    vitals: Vitals
    error_count: int = 0


@dataclass(frozen=True, slots=True)
class GivenCommand:
    """Something that somebody wants of a bot now; its key is done once.

    ``is_allowed``: the bot is there, and theirs; ``node_id``: which service runs it, None if none does.
    """

    id: int
    bot_id: BotId
    command: str
    payload: Mapping[str, Any]
    source: str
    is_allowed: bool
    node_id: str | None


class TradingStore(Protocol):
    """Bots and sessions, as the one service sees them that runs them."""

    async def installation(self) -> str:
        """Return what names this installation in the names of its orders."""
        ...

    async def unclean_sessions(self, host: str) -> Sequence[Session]:
        """Return the sessions on a machine that began and never ended, the newest first."""
        ...

    async def begin_session(self, session: Session) -> None:
        """Write down that a service runs from now on."""
        ...

    async def note_recovered(self, former: Collection[str]) -> None:
        """Write down that everything is recovered, so that former sessions are no crash any more."""
        ...

    async def end_session(self, node_id: str) -> None:
        """Write down that a service has ended as it should."""
        ...

    async def bots(self, user_id: int | None = None) -> Sequence[Bot]:
        """Return the bots of a user, or of everybody."""
        ...

    async def claim(self, bot_id: BotId, node_id: str, former: Collection[str]) -> bool:
        """Take a bot, unless a living service has it; ``former`` ones are known to be dead. Return whether."""
        ...

    async def note_status(
        self,
        bot_id: BotId,
        node_id: str,
        status: BotStatus,
        *,
        error: str | None,
        error_count: int,
        events: Sequence[BotEvent],
        messages: Sequence[OutgoingMessage] = (),
    ) -> None:
        """Write down what a bot does now, with which news and messages; a bot that ends is given back.

        One that another service has taken meanwhile is left as it is.
        """
        ...

    async def beat(self, node_id: str, beats: Sequence[Beat]) -> None:
        """Write down how a service's bots are, all in one statement."""
        ...

    async def commands(self) -> Sequence[GivenCommand]:
        """Return what is wanted of bots and not done yet, in order."""
        ...

    async def wish(self, bot_id: BotId, command: str) -> bool:
        """Let a bot be as start, stop, pause or resume say; return False if only a person may change it."""
        ...

    async def finish_command(self, command_id: int, outcome: str) -> None:
        """Write down what became of a command."""
        ...

    async def recovered(self, bot_id: BotId) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return open positions and trades in the shape that a strategy's configuration has them in."""
        ...
