"""Channel ``bot``: a command is written for the trading service, which decides what to do with it."""

from __future__ import annotations

from typing import Protocol

from atf.adapters.channels.action_delivery import part, require_in_time
from atf.alerts.bot_command import BotCommand
from atf.clock import Clock
from atf.notifications.channel import UNLIMITED, Letter, Reach, TextForm


class BotCommands(Protocol):
    """Where commands are stored."""

    async def add(self, command: BotCommand) -> None:
        """Store a command; one whose key is stored already is left alone."""
        ...


class BotChannel:
    """Delivers exactly once: the dedup key is unique among commands."""

    name = "bot"
    is_idempotent = True
    disturbs = False
    reach = Reach.SHARED
    form = TextForm.PLAIN
    limits = UNLIMITED

    def __init__(self, commands: BotCommands, clock: Clock | None) -> None:
        self._commands = commands
        self._clock = clock

    async def send(self, letter: Letter) -> str | None:
        """Write the command. Errors: PermanentFailure if it is late, or no command at all."""
        require_in_time(letter, self._clock)
        command = BotCommand(
            dedup_key=letter.dedup_key,
            bot_id=part(letter, "bot_id", int),
            user_id=letter.recipient.user_id,
            command=part(letter, "command", str),
            payload=part(letter, "body", dict),
            source=f"alert:{part(letter, 'alert_id', int)}",
        )
        await self._commands.add(command)
        return letter.dedup_key

    async def close(self) -> None:
        """Do nothing: the store is somebody else's."""
