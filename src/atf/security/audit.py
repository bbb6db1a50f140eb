"""The audit log: who did what, from where, when, and what came of it.

Changes of what users own are written by the database itself, in the transaction of the change; what changes
nothing, such as a refusal, is recorded here. Entries are only added, never changed or deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from atf.security.caller import Origin, Stranger


class AuditOutcome(StrEnum):
    """What came of it."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something to record beside the changes that the database records; the caller is who acts now.

    ``action``: a subject and a verb, such as ``user.sign_in``; ``owner_id``: whose the object is; ``detail``: one
    sentence, without secrets; ``stranger``: who it was, if nobody is known who acts.
    """

    action: str
    outcome: AuditOutcome
    object_type: str
    object_id: str | None = None
    owner_id: int | None = None
    detail: str | None = None
    stranger: Stranger | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What the log says; of a change ``before`` and ``after`` have the fields that differ, secrets masked."""

    id: int
    at: datetime
    actor_id: int | None
    actor: str
    origin: Origin
    address: str | None
    action: str
    object_type: str
    object_id: str | None
    owner_id: int | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    outcome: AuditOutcome
    detail: str | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; what is None does not matter.

    ``action``: an action, or its subject alone; ``since`` and ``until``: instants, the second left out.
    """

    actor: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    outcome: AuditOutcome | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditLog(Protocol):
    """Where what happened is written down."""

    async def record(self, event: AuditEvent) -> None:
        """Add an entry, in a transaction of its own."""
        ...
