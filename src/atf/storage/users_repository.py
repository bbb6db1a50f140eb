"""Users: the owner that the first migration makes, and whoever is added later."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import NotFound
from atf.storage.database import Database

_ROLES: Final = text("SELECT id, role FROM users WHERE id = ANY(CAST(:ids AS int[])) AND is_active")


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

    async def role_of(self, user_id: int) -> str | None:
        """Return the role of a user, None if that is no active one."""
        async with self._database.transaction() as connection:
            return (await roles_of(connection, [user_id])).get(user_id)


async def roles_of(connection: AsyncConnection, user_ids: Collection[int]) -> dict[int, str]:
    """Return the roles of those of the users that are active, within somebody's transaction."""
    rows = await connection.execute(_ROLES, {"ids": list(user_ids)})
    return {int(row.id): str(row.role) for row in rows}
