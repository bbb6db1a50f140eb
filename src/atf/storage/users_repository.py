"""Users: the owner that the first migration makes, and whoever is added later."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import Conflict, NotFound
from atf.security.role import Role
from atf.security.session import SessionEnd
from atf.security.user import Quotas, User, UserStatus
from atf.storage.database import Database
from atf.storage.stored_passwords import end_sessions

_USER: Final = """
    id, name, role, is_active, approved_at, created_at,
    schedules_limit, alerts_limit, runs_per_day_limit, cpu_seconds_limit, memory_mib_limit, bots_limit
"""
_FIND: Final = text(f"SELECT {_USER} FROM users WHERE name = :name")
_BY_ID: Final = text(f"SELECT {_USER} FROM users WHERE id = :id")
_LIST: Final = text(f"SELECT {_USER} FROM users ORDER BY id")
_ADD: Final = text(f"INSERT INTO users (name, role) VALUES (:name, :role) RETURNING {_USER}")
# Who decides about administrators waits for who does so already: two of them must not take each other's role.
_LOCK_ADMINS: Final = text("SELECT id FROM users WHERE role = 'admin' AND is_active ORDER BY id FOR UPDATE")
_SET_ROLE: Final = text(f"UPDATE users SET role = :role WHERE id = :id RETURNING {_USER}")
_SET_ACTIVE: Final = text(
    f"UPDATE users SET is_active = :is_active, approved_at = coalesce(approved_at, now()) WHERE id = :id "
    f"RETURNING {_USER}"
)
_CANCEL_WAITING: Final = text(
    "UPDATE job_schedule_runs SET status = 'CANCELLED', error = 'its user was disabled' "
    "WHERE user_id = :id AND status = 'PENDING'"
)
_ROLES: Final = text("SELECT id, role FROM users WHERE id = ANY(CAST(:ids AS int[])) AND is_active")


class PostgresUsers:
    """The users table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def active(self, name: str) -> User:
        """Return an active user. Errors: NotFound that lists the names."""
        users = [user for user in await self.list_users() if user.status is UserStatus.ACTIVE]
        found = next((user for user in users if user.name == name), None)
        if found is None:
            raise NotFound(f"there is no user '{name}'; users here: {', '.join(sorted(u.name for u in users))}")
        return found

    async def role_of(self, user_id: int) -> str | None:
        """Return the role of a user, None if that is no active one."""
        async with self._database.transaction() as connection:
            return (await roles_of(connection, [user_id])).get(user_id)

    async def quotas_of(self, user_id: int) -> Quotas:
        """Return what a user may have; nothing of it is set for one that there is not."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_BY_ID, {"id": user_id})).first()
        return Quotas() if row is None else _user(row).limits

    async def find(self, name: str) -> User | None:
        """Return a user by name, whatever the status."""
        async with self._database.transaction() as connection:
            return await find_user(connection, name)

    async def list_users(self) -> Sequence[User]:
        """Return all users, oldest first."""
        async with self._database.transaction() as connection:
            return [_user(row) for row in await connection.execute(_LIST)]

    async def add(self, name: str, role: Role) -> User:
        """Store an active user. Errors: Conflict if there is one of that name."""
        async with self._database.transaction() as connection:
            try:
                row = (await connection.execute(_ADD, {"name": name, "role": role})).one()
            except IntegrityError as exc:
                raise Conflict(f"there is a user '{name}' already") from exc
        return _user(row)

    async def set_role(self, user_id: int, role: Role) -> User:
        """Give a user another role. Errors: Conflict if no active administrator would be left."""
        async with self._database.transaction() as connection:
            if role is not Role.ADMIN:
                await _require_another_admin(connection, user_id)
            return _user((await connection.execute(_SET_ROLE, {"id": user_id, "role": role})).one())

    async def set_active(self, user_id: int, *, is_active: bool) -> User:
        """Let a user in, or out; who is out has no waiting runs any more and gets none, and no session either.

        Errors: Conflict if no active administrator would be left.
        """
        async with self._database.transaction() as connection:
            if not is_active:
                await _require_another_admin(connection, user_id)
                await connection.execute(_CANCEL_WAITING, {"id": user_id})
                await end_sessions(connection, user_id, SessionEnd.DISABLED)
            return _user((await connection.execute(_SET_ACTIVE, {"id": user_id, "is_active": is_active})).one())

    async def change_limits(self, user_id: int, changes: Mapping[str, int | None]) -> User:
        """Store how much a user may have of the named things; the others stay."""
        assignments = ", ".join(f"{name}_limit = :{name}" for name in changes)
        statement = text(f"UPDATE users SET {assignments} WHERE id = :id RETURNING {_USER}")
        async with self._database.transaction() as connection:
            return _user((await connection.execute(statement, {"id": user_id, **changes})).one())


async def find_user(connection: AsyncConnection, name: str) -> User | None:
    """Return a user by name, whatever the status, within somebody's transaction."""
    row = (await connection.execute(_FIND, {"name": name})).first()
    return None if row is None else _user(row)


async def roles_of(connection: AsyncConnection, user_ids: Collection[int]) -> dict[int, str]:
    """Return the roles of those of the users that are active, within somebody's transaction."""
    rows = await connection.execute(_ROLES, {"ids": list(user_ids)})
    return {int(row.id): str(row.role) for row in rows}


async def _require_another_admin(connection: AsyncConnection, user_id: int) -> None:
    """Raise Conflict if a user is the only active administrator."""
    admins = [row.id for row in await connection.execute(_LOCK_ADMINS)]
    if admins == [user_id]:
        raise Conflict("this is the only active administrator; make another one first")


def _user(row: Row[Any]) -> User:
    fields = row._asdict()
    limits = {name: fields[f"{name}_limit"] for name in Quotas.__dataclass_fields__}
    return User(row.id, row.name, Role(row.role), _status(row), Quotas(**limits), row.created_at)


def _status(row: Row[Any]) -> UserStatus:
    if row.is_active:
        return UserStatus.ACTIVE
    return UserStatus.PENDING if row.approved_at is None else UserStatus.DISABLED
