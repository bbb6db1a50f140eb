"""Commands: what alerts and people want of bots now, each done once, or left to the service that runs the bot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from atf.errors import AtfError
from atf.trading.bot_supervision import SupervisedBot
from atf.trading.order import BotId
from atf.trading.service_store import GivenCommand, TradingStore

_LOGGER = logging.getLogger(__name__)
_WISHES: Final = frozenset({"start", "stop", "pause", "resume"})
"""Commands that change what is wished of a bot; the next look into the database does it."""


class BotCommands:
    """Does the commands of one service's bots. ``bots``: those that it runs, as they are at any time."""

    def __init__(
        self,
        store: TradingStore,
        node_id: str,
        bots: Mapping[BotId, SupervisedBot],
        restart: Callable[[SupervisedBot], Awaitable[None]],
    ) -> None:
        self._store = store
        self._node_id = node_id
        self._bots = bots
        self._restart = restart
        self._comparing: dict[int, asyncio.Task[None]] = {}

    async def obey(self) -> None:
        """Do what is wanted and not done yet; a comparison goes on by itself, as a venue may take its time.

        Errors: those of the database.
        """
        for command in await self._store.commands():
            if command.id in self._comparing:
                continue
            bot = self._bots.get(command.bot_id)
            if command.command == "reconcile" and command.is_allowed and bot is not None:
                self._comparing[command.id] = asyncio.create_task(self._compare(command, bot))
            elif (outcome := await self._outcome(command, bot)) is not None:
                await self._store.finish_command(command.id, outcome)

    async def close(self) -> None:
        """End what is under way; it is done by the next service."""
        tasks = list(self._comparing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _outcome(self, command: GivenCommand, bot: SupervisedBot | None) -> str | None:
        """Do a command and return what became of it; None: it is another service's."""
        if not command.is_allowed:
            return "refused: there is no such bot"
        if command.command in _WISHES:
            is_done = await self._store.wish(command.bot_id, command.command)
            return "done" if is_done else "refused: the bot is disabled or halted"
        if bot is None:
            is_others = command.node_id not in (None, self._node_id)
            return None if is_others else "refused: the bot does not run"
        if command.command == "restart":
            await self._restart(bot)
            return "done"
        return f"refused: no strategy takes a {command.command} yet"

    async def _compare(self, command: GivenCommand, bot: SupervisedBot) -> None:
        try:
            outcome = await bot.compare_positions()
            await self._store.finish_command(command.id, outcome)
        except AtfError as exc:
            _LOGGER.warning("bot %d: the comparison is put off: %s", command.bot_id, exc)
        finally:
            self._comparing.pop(command.id, None)
