"""The settler: records how tries ended, many in one transaction, until the database has them.

A letter counts as under way until this has recorded it. Giving up would forget what was sent, and send it again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from atf.errors import TemporaryFailure
from atf.jobs.retry import BackOff
from atf.jobs.run import WorkerId
from atf.notifications.outbox import Outbox, Settled

_LOGGER = logging.getLogger(__name__)
_BACK_OFF: Final = BackOff(timedelta(seconds=0.2), cap=timedelta(seconds=5))


@dataclass(frozen=True, slots=True)
class _Entry:
    settled: Sequence[Settled]
    untouched: Sequence[int]
    done: asyncio.Future[None]


class Settler:
    """Takes endings at any time; one transaction at a time takes all that have come meanwhile."""

    def __init__(
        self, outbox: Outbox, sender_id: WorkerId, *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._outbox = outbox
        self._sender_id = sender_id
        self._jitter = jitter
        self._waiting: list[_Entry] = []
        self._has_come = asyncio.Event()

    async def settle(self, settled: Sequence[Settled], untouched: Collection[int] = ()) -> None:
        """Have endings recorded, and deliveries given back that were not tried; return when that is done."""
        entry = _Entry(settled, tuple(untouched), asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._has_come.set()
        await entry.done

    async def run(self) -> None:
        """Record until cancelled. What the database does not take now is tried again; other errors end it."""
        while True:
            await self._has_come.wait()
            self._has_come.clear()
            while self._waiting:
                taken, self._waiting = self._waiting, []
                await self._record(taken)
                for entry in taken:
                    if not entry.done.done():
                        entry.done.set_result(None)

    async def _record(self, entries: Sequence[_Entry]) -> None:
        settled = [one for entry in entries for one in entry.settled]
        untouched = [one for entry in entries for one in entry.untouched]
        failures = 0
        while True:
            try:
                return await self._outbox.settle(self._sender_id, settled, untouched)
            except (TemporaryFailure, OSError) as exc:
                failures += 1
                _LOGGER.warning("%d tries of delivery not recorded, trying again: %s", len(settled), exc)
                await asyncio.sleep(_BACK_OFF.delay(failures, self._jitter()).total_seconds())
