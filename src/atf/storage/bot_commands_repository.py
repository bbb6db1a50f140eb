"""Commands to bots as SQL."""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import text

from atf.alerts.bot_command import BotCommand
from atf.storage.database import Database

_ADD: Final = text(
    """
    INSERT INTO trading_bot_commands (dedup_key, bot_id, user_id, command, payload, source)
    VALUES (:dedup_key, :bot_id, :user_id, :command, CAST(:payload AS jsonb), :source)
    ON CONFLICT (dedup_key) DO NOTHING
    """
)
_WAKE: Final = text("SELECT pg_notify('atf_bots', '')")


class PostgresBotCommands:
    """The table of commands."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, command: BotCommand) -> None:
        """Store a command; one whose key is stored already is left alone."""
        values = {
            "dedup_key": command.dedup_key,
            "bot_id": command.bot_id,
            "user_id": command.user_id,
            "command": command.command,
            "payload": json.dumps(command.payload),
            "source": command.source,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_ADD, values)
            await connection.execute(_WAKE)
