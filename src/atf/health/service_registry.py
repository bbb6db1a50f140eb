"""Who runs where: every process keeps a row in the registry for as long as it lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from atf.errors import AtfError
from atf.health.status import HealthStatus
from atf.lifecycle import Service

_LOGGER = logging.getLogger(__name__)
REFRESH_SECONDS: Final = 10.0
STALE_SECONDS: Final = 30.0
_FORGOTTEN_SECONDS: Final = 86_400.0
_PATIENCE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class ServiceInstance:
    """A process that runs a service, and where it can be asked."""

    instance_id: str
    service: str
    host: str
    pid: int
    version: str
    endpoints: Mapping[str, str]

    @classmethod
    def of_this_process(
        cls, service: str, instance_id: str, version: str, endpoints: Mapping[str, str]
    ) -> ServiceInstance:
        """Return the instance that this process is."""
        return cls(instance_id, service, socket.gethostname(), os.getpid(), version, endpoints)


@dataclass(frozen=True, slots=True)
class RegisteredInstance:
    """A row of the registry; ages are by the database's clock."""

    instance_id: str
    service: str
    host: str
    pid: int
    version: str
    endpoints: Mapping[str, str]
    started_at: datetime
    last_seen_at: datetime
    age_seconds: float

    @property
    def is_stale(self) -> bool:
        """Whether the process has not been heard of for too long."""
        return self.age_seconds > STALE_SECONDS


@dataclass(frozen=True, slots=True)
class ReportedHealth:
    """A stored heartbeat and what it is worth now."""

    system: str
    component: str
    status: HealthStatus
    last_heartbeat: datetime
    response_time_ms: int | None
    error_message: str | None
    metadata: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PlatformStatus:
    """What runs where and how it says it is."""

    services: Sequence[RegisteredInstance]
    systems: Sequence[ReportedHealth]

    @property
    def is_healthy(self) -> bool:
        """Whether something runs, nothing is stale, and all say that they are well."""
        return (
            bool(self.services)
            and not any(instance.is_stale for instance in self.services)
            and all(system.status is HealthStatus.HEALTHY for system in self.systems)
        )


class RegistryStore(Protocol):
    """Where instances are written; the database's clock tells when they were seen."""

    async def register(self, instance: ServiceInstance) -> None:
        """Write the instance's row, or say that it has been seen."""
        ...

    async def remove(self, instance_ids: Sequence[str]) -> None:
        """Forget instances and what they reported."""
        ...

    async def instances(self) -> Sequence[RegisteredInstance]:
        """Return all instances by service and start."""
        ...


def new_instance_id(service: str) -> str:
    """Return a name that no other process has."""
    return f"{service}-{uuid.uuid4().hex[:8]}"


class Registration(Service):
    """Keeps this process in the registry and takes it out at the end; a database that is away is survived.

    It counts as started after its first try.

    Whoever comes first after a crash takes out the dead: rows of this machine whose process is gone, and rows
    of any machine that were last seen a day ago.
    """

    def __init__(
        self,
        store: RegistryStore,
        describe: Callable[[], ServiceInstance],
        *,
        refresh_seconds: float = REFRESH_SECONDS,
        is_alive: Callable[[int], bool] | None = None,
    ) -> None:
        super().__init__("registration")
        self._store = store
        self._describe = describe
        self._refresh_seconds = refresh_seconds
        self._is_alive = is_alive or process_lives
        self._has_cleaned = False
        self._is_away = False

    async def _serve(self, started: Callable[[], None]) -> None:
        instance = self._describe()
        try:
            await self._refresh(instance)
            started()
            while True:
                await asyncio.sleep(self._refresh_seconds)
                await self._refresh(instance)
        finally:
            await asyncio.shield(self._leave(instance))

    async def _refresh(self, instance: ServiceInstance) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._store.register(instance)
                if not self._has_cleaned:
                    await self._forget_the_dead(instance)
                    self._has_cleaned = True
        except (AtfError, OSError, TimeoutError) as exc:
            if not self._is_away:
                reason = str(exc) or "no answer in time"
                _LOGGER.warning("%s not registered, trying again: %s", instance.instance_id, reason)
            self._is_away = True
        else:
            self._is_away = False

    async def _forget_the_dead(self, own: ServiceInstance) -> None:
        dead = [
            other.instance_id
            for other in await self._store.instances()
            if other.age_seconds > _FORGOTTEN_SECONDS
            or (other.host == own.host and not self._is_alive(other.pid))
        ]
        if dead:
            await self._store.remove(dead)

    async def _leave(self, instance: ServiceInstance) -> None:
        with contextlib.suppress(AtfError, OSError, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._store.remove([instance.instance_id])


def process_lives(pid: int) -> bool:
    """Return whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True
