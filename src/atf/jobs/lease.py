"""The lease of a process that holds rows: one row for all of them, renewed by one small update.

The process itself stops on a deadline counted from before its last renewal was sent, so it ends its work before
anybody else may take it, whatever the network does. The clock goes on while the machine is suspended: a laptop
that wakes up knows that its leases are over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol, TypeVar

from atf.errors import AtfError
from atf.jobs.run import WorkerId

_LOGGER = logging.getLogger(__name__)
T = TypeVar("T")

# Linux only; elsewhere a suspended machine's runs are still kept apart by the fence on every write.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_LONGEST_SLEEP: Final = 1.0
"""Timers stand still while a machine sleeps, so that nobody waits longer than this for a deadline."""


def boot_seconds() -> float:
    """Return seconds of a clock that nobody sets and that counts the time of suspension."""
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds rows, as others see it; ``slots``: runs at the same time, by job type."""

    worker_id: WorkerId
    host: str
    pid: int
    types: tuple[str, ...]
    name: str = ""
    slots: Mapping[str, int] = field(default_factory=dict)


class LeaseStore(Protocol):
    """Where leases are written; the database's clock decides when one is over."""

    async def register(self, holder: Holder, lease: timedelta) -> None:
        """Write the row of a new holder; the same again when it is not known whether it was written."""
        ...

    async def renew(self, worker_id: WorkerId, lease: timedelta) -> bool:
        """Extend the lease; return False if it has already been taken away."""
        ...

    async def remove(self, worker_id: WorkerId) -> None:
        """Forget a holder that has given everything back."""
        ...


class LeaseLost(AtfError):
    """The lease was not renewed in time: what was held may belong to somebody else by now."""


class Lease:
    """One incarnation after another of a holder: a lost lease is followed by a new name."""

    def __init__(
        self,
        store: LeaseStore,
        *,
        name: str,
        types: Sequence[str],
        length: timedelta,
        slots: Mapping[str, int] | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._types = tuple(types)
        self._slots = dict(slots or {})
        self._length = length
        self._worker_id: WorkerId | None = None
        self._asked: WorkerId | None = None
        self._deadline = 0.0
        self._renewer: asyncio.Task[None] | None = None

    async def acquire(self) -> WorkerId:
        """Return the present incarnation, beginning a new one if there is none or it is over.

        Errors: DatabaseUnavailable; ask again.
        """
        if self._worker_id is not None and not self.is_over:
            return self._worker_id
        self._stop_renewing()
        # A row that was asked for may be there although the answer was lost, or nobody waited for it.
        worker_id = self._asked = self._asked or WorkerId(f"{self._name}-{uuid.uuid4().hex[:8]}")
        sent_at = boot_seconds()
        holder = Holder(worker_id, socket.gethostname(), os.getpid(), self._types, self._name, self._slots)
        await self._store.register(holder, self._length)
        self._worker_id, self._asked, self._deadline = worker_id, None, sent_at + self._length.total_seconds()
        self._renewer = asyncio.create_task(self._renew_forever(worker_id), name=f"lease-{worker_id}")
        return worker_id

    @property
    def is_over(self) -> bool:
        """Whether what this incarnation held may have been given to others."""
        return boot_seconds() >= self._deadline

    @property
    def seconds_left(self) -> float:
        """How long the present incarnation may still work without a renewal."""
        return max(0.0, self._deadline - boot_seconds())

    async def guard(self, work: asyncio.Task[T]) -> T:
        """Await ``work``, but no longer than the lease lives; renewals extend it while it runs.

        Errors: LeaseLost, after the work has been cancelled and has ended.
        """
        try:
            while not work.done():
                if self.is_over:
                    raise LeaseLost(f"the lease of {self._worker_id} was not renewed in time")
                # The renewer ends when the lease has been taken away, which may be long before the deadline.
                patience = min(self.seconds_left, _LONGEST_SLEEP)
                await asyncio.wait(
                    {work, *self._renewing()}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
            return work.result()
        finally:
            work.cancel()
            await asyncio.wait({work})

    async def release(self) -> None:
        """End this incarnation; harmless when there is none."""
        self._stop_renewing()
        held = [one for one in (self._worker_id, self._asked) if one is not None]
        self._worker_id = self._asked = None
        self._deadline = 0.0
        for worker_id in held:
            with contextlib.suppress(AtfError):
                await self._store.remove(worker_id)

    def _renewing(self) -> set[asyncio.Task[None]]:
        return set() if self._renewer is None or self._renewer.done() else {self._renewer}

    def _stop_renewing(self) -> None:
        if self._renewer is not None:
            self._renewer.cancel()
            self._renewer = None

    async def _renew_forever(self, worker_id: WorkerId) -> None:
        while not self.is_over:
            await asyncio.sleep(self._length.total_seconds() / 3)
            sent_at = boot_seconds()
            try:
                renewed = await self._store.renew(worker_id, self._length)
            except (AtfError, OSError) as exc:
                _LOGGER.warning("lease of %s not renewed: %s", worker_id, exc)
                continue
            if not renewed:
                self._deadline = 0.0
                return
            self._deadline = sent_at + self._length.total_seconds()
