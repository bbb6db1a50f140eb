"""Whether a database is that of a replay, for processes that need nothing else of the market."""

from __future__ import annotations

from sqlalchemy import text

from atf.storage.database import Database


async def is_replaying(database: Database) -> bool:
    """Tell whether market time is moved by a replay here."""
    async with database.transaction() as connection:
        return bool((await connection.execute(text("SELECT EXISTS (SELECT FROM market_clock)"))).scalar())
