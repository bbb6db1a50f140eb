"""Several services as one: started in order, stopped in reverse, ended when one of them ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from atf.lifecycle.service import Service


class ServiceGroup(Service):
    """What a process consists of."""

    def __init__(self, name: str, services: Sequence[Service]) -> None:
        super().__init__(name)
        self._services = services

    async def _serve(self, started: Callable[[], None]) -> None:
        """Fail as a whole with the first failure: half a process is worse than a restart."""
        begun: list[Service] = []
        try:
            for service in self._services:
                begun.append(service)
                await service.start()
            started()
            endings = [asyncio.create_task(service.wait_ended()) for service in begun]
            try:
                done, _ = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
                for ending in done:
                    ending.result()
            finally:
                for ending in endings:
                    ending.cancel()
        finally:
            await asyncio.shield(_stop_in_reverse(begun))

    async def reload(self) -> None:
        """Let every service read again what may have changed."""
        for service in self._services:
            await service.reload()


async def _stop_in_reverse(services: Sequence[Service]) -> None:
    for service in reversed(services):
        await service.stop()
