"""The contract of every service: start once, tell when started, stop at any time and as often as you like.

::

    new ──start──▶ starting ──▶ started ──▶ ended
     └──stop──▶ ended  └──stop──▶ ended  └──stop──▶ ended
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable


class Service(ABC):
    """Something that runs until it is stopped. Subclasses say in ``_serve`` what it does.

    ``_serve`` runs in a task of its own, calls ``started`` once it is ready, and cleans up when cancelled.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._task: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._is_stopped = False

    @abstractmethod
    async def _serve(self, started: Callable[[], None]) -> None:
        """Do the work until cancelled; call ``started`` as soon as it is ready."""

    @property
    def is_started(self) -> bool:
        """Whether the service has become ready and has not ended."""
        return self._started.is_set() and self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Begin, and return when the service is ready, or has been stopped meanwhile.

        Errors: what made it fail before it was ready; RuntimeError if it was started before.
        """
        if self._task is not None:
            raise RuntimeError(f"{self.name} was started before: make a new one")
        if self._is_stopped:
            return
        self._task = asyncio.create_task(self._serve(self._started.set), name=self.name)
        ready = asyncio.create_task(self._started.wait())
        try:
            await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            await asyncio.wait({ready})
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def wait_ended(self) -> None:
        """Return when the service has ended by being stopped, or was never started.

        Errors: what ended it otherwise.
        """
        if self._task is None:
            return
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    async def stop(self) -> None:
        """End the service and return when it has ended; harmless when it never ran or has ended before."""
        is_first, self._is_stopped = not self._is_stopped, True
        if self._task is None:
            return
        if is_first:  # a second cancellation would interrupt the cleaning up that the first one began
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({self._task})

    async def reload(self) -> None:  # noqa: B027 - most services have nothing to read
        """Read again whatever may have changed outside; the default has nothing to read."""
