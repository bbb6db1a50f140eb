"""The loop of whoever claims rows under a lease: workers their runs, the notification service its deliveries."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Protocol

from atf.errors import AtfError
from atf.jobs.lease import Lease
from atf.jobs.retry import BackOff
from atf.jobs.run import WorkerId
from atf.lifecycle import Progress

_LOGGER = logging.getLogger(__name__)
_BACK_OFF: Final = BackOff(timedelta(seconds=0.2), cap=timedelta(seconds=5))
_LONGEST_GOODBYE_SECONDS: Final = 5.0
"""A database that does not answer at the end must not keep the process: the rescuer does it for it."""


class Waiter(Protocol):
    """Something that wakes when work may have come."""

    async def wait(self, seconds: float) -> bool:
        """Wait until woken or until the time is over."""
        ...


class Held(Protocol):
    """The store of what is claimed."""

    async def release_held(self, holder: WorkerId, /) -> int:
        """Return everything that this holder still holds."""
        ...


class ClaimLoop:
    """One round after another until cancelled; then ``drain`` ends what can be ended, and the rest is given back.

    What a failed round left behind is given back first: a claim whose answer was lost holds rows that nobody
    works on, and a live lease would keep them from being rescued.
    """

    def __init__(
        self,
        held: Held,
        lease: Lease,
        waiter: Waiter,
        *,
        poll: timedelta,
        progress: Progress | None = None,
        jitter: Callable[[], float] = random.random,
        drain: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._held = held
        self._lease = lease
        self._waiter = waiter
        self._poll = poll
        self._progress = progress or Progress()
        self._jitter = jitter
        self._drain = drain

    async def run(self, do_round: Callable[[], Awaitable[bool]], *, failure: str) -> None:
        """Do rounds; each returns whether it found work. Whatever goes wrong is logged and tried again.

        ``failure`` is what the log says then.
        """
        failures = 0
        try:
            while True:
                try:
                    if failures:
                        await self._held.release_held(await self._lease.acquire())
                    busy = await do_round()
                    self._progress.mark()
                    failures = 0
                except (AtfError, OSError) as exc:
                    failures += 1
                    _LOGGER.warning("%s, trying again: %s", failure, exc)
                    await asyncio.sleep(_BACK_OFF.delay(failures, self._jitter()).total_seconds())
                    continue
                if not busy:
                    await self._waiter.wait(self._poll.total_seconds())
        finally:
            await asyncio.shield(self._hand_back())

    async def _hand_back(self) -> None:
        if self._drain is not None:
            await self._drain()
        try:
            async with asyncio.timeout(_LONGEST_GOODBYE_SECONDS):
                if not self._lease.is_over:
                    await self._held.release_held(await self._lease.acquire())
        except (AtfError, OSError) as exc:
            _LOGGER.warning("what is held could not be handed back, the rescuer will do it: %s", exc)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_GOODBYE_SECONDS):
                await self._lease.release()
