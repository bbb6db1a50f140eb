"""Who works at the moment, and what did not run when it was due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A process that holds a lease; ``is_alive`` by the database's clock, ``slots`` by job type."""

    worker_id: str
    name: str
    host: str
    pid: int
    types: Sequence[str]
    slots: Mapping[str, Any]
    started_at: datetime
    lease_expires_at: datetime
    is_alive: bool
    running: int


@dataclass(frozen=True, slots=True)
class MisfireRecord:
    """Instants of one schedule that were missed in one gap, and why nothing ran."""

    id: int
    schedule_id: int
    schedule_name: str
    count: int
    first_at: datetime
    last_at: datetime
    reason: str
    noticed_at: datetime


class OverviewStore(Protocol):
    """Workers and misfires in the database."""

    async def list_workers(self) -> Sequence[WorkerRecord]:
        """Return all holders of leases, oldest first."""
        ...

    async def list_misfires(self, user_id: int, schedule_id: int | None, limit: int) -> Sequence[MisfireRecord]:
        """Return the misfires of a user's schedules, newest first."""
        ...


class OverviewService:
    """Workers and misfires as users see them."""

    def __init__(self, store: OverviewStore) -> None:
        self._overview = store

    async def list_workers(self) -> Sequence[WorkerRecord]:
        """Return all holders of leases, oldest first."""
        return await self._overview.list_workers()

    async def list_misfires(
        self, user_id: int, schedule_id: int | None = None, limit: int = 50
    ) -> Sequence[MisfireRecord]:
        """Return what did not run when it was due, newest first; one entry a schedule and gap."""
        return await self._overview.list_misfires(user_id, schedule_id, limit)
