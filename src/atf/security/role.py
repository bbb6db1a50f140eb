"""Roles and what they permit. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a user is; each may do what those below it may."""

    ADMIN = "admin"
    TRADER = "trader"
    VIEWER = "viewer"


class Permission(StrEnum):
    """One kind of thing that a user may do with what is the user's own."""

    VIEW = "view"
    """Look at schedules, alerts, runs, messages and market data."""
    EDIT = "edit"
    """Add, change and delete schedules, alerts and universes; start, cancel and retry runs."""
    ACT = "act"
    """Let alerts command bots and call webhooks."""
    KEEP_SECRETS = "keep secrets"
    """Store and delete secrets, and have tokens."""
    ADMINISTER = "administer"
    """Do all of that for others, manage users, and read the audit log."""


_OF_VIEWERS: Final = frozenset({Permission.VIEW})
_OF_TRADERS: Final = _OF_VIEWERS | {Permission.EDIT, Permission.ACT, Permission.KEEP_SECRETS}
_PERMITTED: Final = {
    Role.VIEWER: _OF_VIEWERS,
    Role.TRADER: _OF_TRADERS,
    Role.ADMIN: _OF_TRADERS | {Permission.ADMINISTER},
}


def permits(role: Role, permission: Permission) -> bool:
    """Whether a role permits something."""
    return permission in _PERMITTED[role]


def roles_with(permission: Permission) -> tuple[Role, ...]:
    """Return the roles that permit something, the mightiest first."""
    return tuple(role for role in Role if permits(role, permission))
