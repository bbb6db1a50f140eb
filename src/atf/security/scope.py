"""Scopes: what a token permits, at most; what its user may not do, the token may not either. Pure."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from atf.errors import InvalidInput, shown
from atf.security.role import Permission


class Scope(StrEnum):
    """One kind of thing that a token is good for."""

    VIEW = "view"
    EDIT = "edit"
    ACT = "act"
    SECRETS = "secrets"
    ADMINISTER = "administer"
    NOTIFY = "notify"
    """Hand over messages to people; only services have it."""


_OF_PERMISSIONS: Final = {
    Permission.VIEW: Scope.VIEW,
    Permission.EDIT: Scope.EDIT,
    Permission.ACT: Scope.ACT,
    Permission.KEEP_SECRETS: Scope.SECRETS,
    Permission.ADMINISTER: Scope.ADMINISTER,
}
OF_USERS: Final = frozenset(_OF_PERMISSIONS.values())
OF_SERVICES: Final = frozenset({Scope.NOTIFY})


def scope_of(permission: Permission) -> Scope:
    """Return the scope that a token needs for something."""
    return _OF_PERMISSIONS[permission]


def checked_scopes(names: Collection[str], allowed: frozenset[Scope]) -> frozenset[Scope]:
    """Return scopes by their names. Errors: InvalidInput with the scopes there are."""
    words = [name.strip().lower() for name in names if name.strip()]
    known = [scope for scope in Scope if scope in allowed]
    for word in words:
        if word not in known:
            raise InvalidInput(f"must be of {', '.join(known)}, got {shown(word)}", field="scopes")
    if not words:
        raise InvalidInput(f"name one at least of {', '.join(known)}", field="scopes")
    return frozenset(Scope(word) for word in words)
