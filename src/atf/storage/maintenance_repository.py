"""Whether the bot is in maintenance, as SQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from atf.storage.audit_repository import record_doing
from atf.storage.database import Database
from atf.storage.stored_text import storable_text
from atf.telegram.platform import MaintenanceNotice

_NOTICE: Final = text("SELECT text FROM telegram_maintenance")
_BEGIN: Final = text(
    "INSERT INTO telegram_maintenance (text) VALUES (:text) "
    "ON CONFLICT (is_on) DO UPDATE SET text = EXCLUDED.text"
)
_END: Final = text("DELETE FROM telegram_maintenance")


class PostgresMaintenance:
    """The table telegram_maintenance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def notice(self) -> MaintenanceNotice | None:
        """Return what is told instead of answers, None while maintenance is off."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_NOTICE)).first()
        return None if row is None else MaintenanceNotice(row.text)

    async def begin(self, words: str) -> None:
        """Put maintenance on, or change its text."""
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN, {"text": storable_text(words)})
            await record_doing(connection, "maintenance.begin", "platform", "telegram")

    async def end(self) -> bool:
        """Put it off; return whether it was on."""
        async with self._database.transaction() as connection:
            was_on = (await connection.execute(_END)).rowcount > 0
            if was_on:
                await record_doing(connection, "maintenance.end", "platform", "telegram")
        return was_on
