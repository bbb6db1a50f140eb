"""Who may use actions: asked when an alert is stored, and again whenever one triggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from atf.errors import InvalidAlertRule
from atf.jobs.run import JobType

ACTING_ROLES: Final = ("admin", "trader")
_WHO: Final = f"only users of the role {' or '.join(ACTING_ROLES)} may use actions"


class UserRoles(Protocol):
    """The roles of users."""

    async def role_of(self, user_id: int) -> str | None:
        """Return the role of a user, None if that is no active one."""
        ...


class ActionPermission:
    """Refuses to store actions for a user who may not use them."""

    def __init__(self, users: UserRoles) -> None:
        self._users = users

    async def require_allowed(self, user_id: int, job_type: str, task_params: Mapping[str, Any]) -> None:
        """Do nothing if the user may store this; without actions nobody is asked.

        Errors: InvalidAlertRule.
        """
        if job_type != JobType.ALERT or not task_params.get("actions"):
            return
        refusal = refusal_of(await self._users.role_of(user_id))
        if refusal is not None:
            raise InvalidAlertRule(f"{refusal}; leave them out", field="actions")


def refusal_of(role: str | None) -> str | None:
    """Return why a user of this role, None for one who is not active, may not use actions; None for who may."""
    if role in ACTING_ROLES:
        return None
    return f"{_WHO}, and this one is {'not active' if role is None else f'a {role}'}"
