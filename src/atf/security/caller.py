"""The caller: on whose behalf something is done, and from where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from atf.errors import Forbidden
from atf.security.role import Permission, Role, permits, roles_with
from atf.security.scope import Scope, scope_of


class Origin(StrEnum):
    """The door by which somebody came."""

    CLI = "cli"
    API = "api"
    TELEGRAM = "telegram"
    SYSTEM = "system"
    """Nobody: a service does it by itself."""
    DATABASE = "database"
    """Somebody with SQL, beside ATF."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody who is not known, or not yet: the door, and the machine the call came from."""

    origin: Origin
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """A user who is known, with the role that counts now; ``address``: the machine the call came from, if any.

    ``scopes``: what the token permits by which the call came; None: whatever the role does.
    """

    user_id: int
    name: str
    role: Role
    origin: Origin
    address: str | None = None
    scopes: frozenset[Scope] | None = None

    def may(self, permission: Permission) -> bool:
        """Whether the caller may do this: by the role, and by the token too if it has scopes."""
        return permits(self.role, permission) and (self.scopes is None or scope_of(permission) in self.scopes)

    def require(self, permission: Permission) -> None:
        """Do nothing if the caller may do this. Errors: Forbidden that says who may."""
        if not permits(self.role, permission):
            who = " or ".join(roles_with(permission))
            raise Forbidden(f"{self.name} is a {self.role}, and only users of the role {who} may {permission}")
        if not self.may(permission):
            raise Forbidden(f"this token of {self.name} lacks the scope {scope_of(permission)}")

    def require_whole(self) -> None:
        """Do nothing if the caller came as a person. Errors: Forbidden if it was by a token with scopes."""
        if self.scopes is not None:
            raise Forbidden(f"a token may not do this for {self.name}; sign in with the password")

    def require_own(self, user_id: int) -> None:
        """Do nothing if what belongs to a user is the caller's, or the caller administers everybody's.

        Errors: Forbidden, which tells nothing of the other user.
        """
        if user_id != self.user_id and not self.may(Permission.ADMINISTER):
            raise Forbidden(f"{self.name} may only see and change what is {self.name}'s own")


_ACTING: Final[ContextVar[Caller | None]] = ContextVar("acting", default=None)


def acting_caller() -> Caller | None:
    """Return on whose behalf this task works; None for a service's own work."""
    return _ACTING.get()


@contextmanager
def acting(caller: Caller) -> Iterator[None]:
    """Work on a caller's behalf within the block; what is changed in it is recorded as the caller's doing."""
    token = _ACTING.set(caller)
    try:
        yield
    finally:
        _ACTING.reset(token)
