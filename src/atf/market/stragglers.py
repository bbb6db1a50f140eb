"""Waiting for many fetches at once, and not for a few that take much longer than the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from atf.market.bars import Series

_FEW: Final = 10
"""So many series have to be wanted for each one that need not be waited for."""
_LONGER: Final = 0.25
"""Stragglers get so much of the time more that the others took."""
_AT_LEAST: Final = 0.25
"""Seconds that every fetch gets, however quick the others were."""


class Fetch(NamedTuple):
    """A fetch of one series, for all who want it; ``begun_at`` in seconds of the event loop."""

    task: asyncio.Task[Any]
    begun_at: float


async def late_of(fetches: Mapping[Series, Fetch], wanted: int, deadline: float) -> set[Series]:
    """Wait for fetches and return the series that are late; their fetches go on by themselves.

    At the deadline all that are not done are late. At most a tenth of the ``wanted`` series, of which some may
    need no fetch, are late sooner: once they take a quarter longer than all others took. So one that hangs does
    not hold up the rest, and many that are slow together, as after a start, are waited for. A fetch that others
    have waited for already is not waited for again.

    Time:   the deadline is of the event loop.
    Errors: those of the fetches, the first of them at once.
    """
    waiting = _Waiting(fetches.values(), wanted // _FEW)
    await waiting.wait(deadline)
    for fetch in fetches.values():
        if fetch.task.done() and not fetch.task.cancelled():
            fetch.task.result()
    return {series for series, one in fetches.items() if not one.task.done() or one.task.cancelled()}


class _Waiting:
    """One wait; ``few`` of the fetches need not be waited for until the deadline."""

    def __init__(self, fetches: Iterable[Fetch], few: int) -> None:
        self._missing = {one.task: one.begun_at for one in fetches if not one.task.done()}
        self._few = few
        self._began = self._newest = asyncio.get_running_loop().time()
        self._has_failed = False
        self._changed = asyncio.Event()

    async def wait(self, deadline: float) -> None:
        """Return when all have come, or all but stragglers, when one has failed, or at the deadline."""
        for task in self._missing:
            task.add_done_callback(self._came)
        try:
            while self._missing and not self._has_failed:
                async with asyncio.timeout_at(min(deadline, self._patience_ends_at())):
                    await self._changed.wait()
                self._changed.clear()
        except TimeoutError:
            return
        finally:
            for task in self._missing:
                task.remove_done_callback(self._came)

    def _came(self, task: asyncio.Task[Any]) -> None:
        del self._missing[task]
        self._newest = task.get_loop().time()
        self._has_failed = self._has_failed or (not task.cancelled() and task.exception() is not None)
        self._changed.set()

    def _patience_ends_at(self) -> float:
        if len(self._missing) > self._few:
            return float("inf")
        others_took = self._newest - self._began
        return max(self._newest + _LONGER * others_took, max(self._missing.values()) + _AT_LEAST)
