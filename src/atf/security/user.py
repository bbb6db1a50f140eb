"""Users: who they are, whether they may do anything now, and how much. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Final

from atf.errors import InvalidInput, shown
from atf.security.role import Role

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
LARGEST_LIMIT: Final = 2**31 - 1


class UserStatus(StrEnum):
    """Whether a user may do anything."""

    ACTIVE = "active"
    PENDING = "pending"
    """Has asked to be let in, and nobody has decided yet."""
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much one user may have; None: what the settings say; 0: any amount.

    ``runs_per_day``: runs a day by UTC, those of schedules included; ``cpu_seconds`` and ``memory_mib``: of one
    run that has a process of its own.
    """

    schedules: int | None = None
    alerts: int | None = None
    runs_per_day: int | None = None
    cpu_seconds: int | None = None
    memory_mib: int | None = None
    bots: int | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not 0 <= value <= LARGEST_LIMIT:
                raise InvalidInput(f"must be from 0 to {LARGEST_LIMIT}, got {shown(value)}", field=each.name)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who uses ATF."""

    id: int
    name: str
    role: Role
    status: UserStatus
    limits: Quotas
    created_at: datetime


def checked_name(name: str) -> str:
    """Return a user's name in its one spelling.

    Errors: InvalidInput that says what is allowed.
    """
    spelled = name.strip().lower()
    if not _NAME.fullmatch(spelled):
        raise InvalidInput(
            "must be 1 to 32 letters from a to z, digits, dots, dashes and underscores, beginning with a letter"
            f" or a digit, got {shown(name)}",
            field="name",
        )
    return spelled


def checked_role(role: str) -> Role:
    """Return a role by its name. Errors: InvalidInput with the roles there are."""
    try:
        return Role(role.strip().lower())
    except ValueError:
        raise InvalidInput(f"must be one of {', '.join(Role)}, got {shown(role)}", field="role") from None
