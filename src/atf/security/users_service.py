"""UsersService: what administrators do with users. One active administrator is always left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from atf.errors import InvalidInput, NotFound
from atf.security.role import Role
from atf.security.user import Quotas, User, checked_name


class UserStore(Protocol):
    """Users in the database."""

    async def find(self, name: str) -> User | None:
        """Return a user by name, whatever the status."""
        ...

    async def list_users(self) -> Sequence[User]:
        """Return all users, oldest first."""
        ...

    async def add(self, name: str, role: Role) -> User:
        """Store an active user. Errors: Conflict if there is one of that name."""
        ...

    async def set_role(self, user_id: int, role: Role) -> User:
        """Give a user another role. Errors: Conflict if no active administrator would be left."""
        ...

    async def set_active(self, user_id: int, *, is_active: bool) -> User:
        """Let a user in, or out; who is out has no waiting runs any more and gets none.

        Errors: Conflict if no active administrator would be left.
        """
        ...

    async def change_limits(self, user_id: int, changes: Mapping[str, int | None]) -> User:
        """Store how much a user may have of the named things; the others stay."""
        ...


class UsersService:
    """Adds users and decides what they may; who may call it is decided before."""

    def __init__(self, store: UserStore) -> None:
        self._store = store

    async def add_user(self, name: str, role: Role) -> User:
        """Add an active user. Errors: InvalidInput at the name; Conflict if there is one of that name."""
        return await self._store.add(checked_name(name), role)

    async def list_users(self) -> Sequence[User]:
        """Return all users, oldest first."""
        return await self._store.list_users()

    async def get_user(self, name: str) -> User:
        """Return a user by name. Errors: NotFound that lists the names."""
        found = await self._store.find(name.strip().lower())
        if found is None:
            known = ", ".join(sorted(user.name for user in await self._store.list_users()))
            raise NotFound(f"there is no user '{name}'; users here: {known}")
        return found

    async def set_role(self, name: str, role: Role) -> User:
        """Give a user another role. Errors: NotFound; Conflict if no active administrator would be left."""
        return await self._store.set_role((await self.get_user(name)).id, role)

    async def disable_user(self, name: str) -> User:
        """Let a user do nothing any more: waiting runs are cancelled, schedules do not fire.

        Errors: NotFound; Conflict if no active administrator would be left.
        """
        return await self._store.set_active((await self.get_user(name)).id, is_active=False)

    async def approve_user(self, name: str) -> User:
        """Let a user in who has asked for it, or who was disabled; schedules fire again from now on.

        Errors: NotFound.
        """
        return await self._store.set_active((await self.get_user(name)).id, is_active=True)

    async def change_limits(self, name: str, changes: Mapping[str, int | None]) -> User:
        """Say how much a user may have, by the fields of ``Quotas``; what is not named stays.

        Errors: NotFound; InvalidInput that names the field, or if nothing is named.
        """
        if not changes:
            raise InvalidInput(f"name one at least of {', '.join(Quotas.__dataclass_fields__)}")
        Quotas(**changes)
        return await self._store.change_limits((await self.get_user(name)).id, changes)
