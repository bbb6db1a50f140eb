"""Users: the owner that the first migration makes, and whoever is added later."""

from __future__ import annotations

from sqlalchemy import text

from atf.errors import NotFound
from atf.storage.database import Database


class PostgresUsers:
    """The users table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def id_of(self, name: str) -> int:
        """Return the id of an active user. Errors: NotFound that lists the names."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(text("SELECT name, id FROM users WHERE is_active"))).all()
        ids = {row.name: int(row.id) for row in rows}
        if name not in ids:
            raise NotFound(f"there is no user '{name}'; users here: {', '.join(sorted(ids))}")
        return ids[name]
