"""Gate: the one way by which callers reach services. It asks who calls, for what and whose, and lets through.

What has no right here is refused to everybody, so that a new method of a service is closed until somebody has
decided who may use it. What is refused is recorded; what is done is recorded by those who do it, as the caller's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, Final, TypeVar, cast

from atf.errors import Forbidden, InvariantViolation
from atf.security.audit import AuditEvent, AuditLog, AuditOutcome
from atf.security.caller import Caller, acting
from atf.security.role import Permission

Service = TypeVar("Service")
OwnerOf = Callable[..., int | None]


def first_argument(user_id: int, *_: object, **__: object) -> int:
    """The owner is named first, as nearly everywhere."""
    return user_id


def first_argument_or_platform(user_id: int | None, *_: object, **__: object) -> int:
    """The owner is named first; None is the platform, which is no user's own and takes an administrator."""
    return 0 if user_id is None else user_id


def of_filter(wanted: Any, *_: object, **__: object) -> int:
    """The owner is named in a filter."""
    return int(wanted.user_id)


@dataclass(frozen=True, slots=True)
class Right:
    """What it takes to call a method: a permission, and that the owner who is named is the caller.

    ``owner_of`` gets the arguments of the call; None for what is nobody's own. ``by_person``: tokens with scopes
    may not, whatever their scopes are, as it would give them more than they have.
    """

    permission: Permission
    owner_of: OwnerOf | None = None
    by_person: bool = False


@dataclass(frozen=True, slots=True)
class Rights:
    """What a service's methods take; ``subject``: what they are about, in the audit log."""

    subject: str
    methods: Mapping[str, Right]


def gated(service: Service, caller: Caller, rights: Rights, log: AuditLog) -> Service:
    """Return a service as a caller may use it: with all its methods, each behind the gate."""
    return cast("Service", _Gate(service, caller, rights, log))


class _Gate:
    def __init__(self, service: object, caller: Caller, rights: Rights, log: AuditLog) -> None:
        self._service: Final = service
        self._caller: Final = caller
        self._rights: Final = rights
        self._log: Final = log

    def __getattr__(self, name: str) -> Any:
        right = self._rights.methods.get(name)
        if right is None:
            raise InvariantViolation(f"nobody has decided who may use {name} of {self._rights.subject}")
        attribute = getattr(self._service, name)
        if iscoroutinefunction(attribute):
            return self._guarded(name, right, attribute)
        self._caller.require(right.permission)
        return attribute

    def _guarded(
        self, name: str, right: Right, method: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            owner = right.owner_of(*arguments, **named) if right.owner_of is not None else None
            try:
                self._require(right, owner)
            except Forbidden as exc:
                await self._refuse(name, owner, exc)
                raise
            with acting(self._caller):
                return await method(*arguments, **named)

        return call

    def _require(self, right: Right, owner: int | None) -> None:
        self._caller.require(right.permission)
        if owner is not None:
            self._caller.require_own(owner)
        if right.by_person:
            self._caller.require_whole()

    async def _refuse(self, name: str, owner: int | None, reason: Forbidden) -> None:
        action = f"{self._rights.subject}.{name}"
        event = AuditEvent(action, AuditOutcome.REFUSED, self._rights.subject, None, owner, str(reason))
        with acting(self._caller):
            await self._log.record(event)
