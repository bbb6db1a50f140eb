"""Tells, once everything is up, where each service listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from atf.health.service_registry import RegisteredInstance
from atf.lifecycle import Service


class Registry(Protocol):
    """Which services run where."""

    async def instances(self) -> Sequence[RegisteredInstance]:
        """Return all registered instances."""
        ...


class Announcement(Service):
    """Speaks when it starts, after the services before it in their group, and is silent from then on."""

    def __init__(self, registry: Registry, tell: Callable[[str], None]) -> None:
        super().__init__("announcement")
        self._registry = registry
        self._tell = tell

    async def _serve(self, started: Callable[[], None]) -> None:
        for instance in await self._registry.instances():
            self._tell(f"{instance.service} runs as process {instance.pid}: {_places(instance)}")
        self._tell("everything is up; stop it with Ctrl-C")
        started()
        await asyncio.Event().wait()


def _places(instance: RegisteredInstance) -> str:
    return ", ".join(str(place) for place in instance.endpoints.values()) or "listens nowhere"
