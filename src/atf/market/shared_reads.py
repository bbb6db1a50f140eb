"""SharedReads: one read of the store for all who want the same series at the same time.

A thousand callers of a process that has just started would otherwise queue for its few connections, each to read
what the first of them has asked for already. And a read during which bars of a series were stored is done again:
its answer would take out of memory what a fetch has just brought.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atf.market.bar_store import BarStore, PutAside
from atf.market.bars import Bars, Series


@dataclass(frozen=True, slots=True)
class _Read:
    """A read and what it answers; ``versions``: how often each series had been stored when it began."""

    counts: Mapping[Series, int]
    versions: Mapping[Series, int]
    until: datetime
    task: asyncio.Task[dict[Series, Bars]]


class SharedReads:
    """A store of bars in which who asks for what is being read already waits for that."""

    def __init__(self, store: BarStore) -> None:
        self._store = store
        self._under_way: dict[Series, _Read] = {}
        self._versions: Counter[Series] = Counter()

    async def close(self) -> None:
        """End all reads."""
        tasks = {read.task for read in self._under_way.values()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def closed_bars_of(self, wanted: Mapping[Series, int], until: datetime) -> dict[Series, Bars]:
        """Return the newest bars of each series that are closed at ``until``.

        Time:   with all that this process has stored by now; what others store meanwhile may be missing.
        Errors: those of the store, for all who wait for the read; a caller that is cancelled ends no read.
        """
        reads: dict[Series, _Read] = {}
        while outdated := [one for one in wanted if one not in reads or not self._is_current(one, reads[one])]:
            reads |= self._joined_or_begun({series: wanted[series] for series in outdated}, until)
            await asyncio.wait({reads[series].task for series in outdated})
        return {series: reads[series].task.result()[series].last(count) for series, count in wanted.items()}

    def _is_current(self, series: Series, read: _Read) -> bool:
        return read.versions[series] == self._versions[series]

    def _joined_or_begun(self, wanted: Mapping[Series, int], until: datetime) -> dict[Series, _Read]:
        reads = {s: read for s, n in wanted.items() if (read := self._joinable(s, n, until)) is not None}
        missing = {series: count for series, count in wanted.items() if series not in reads}
        return reads | dict.fromkeys(missing, self._begin(missing, until)) if missing else reads

    def _joinable(self, series: Series, count: int, until: datetime) -> _Read | None:
        read = self._under_way.get(series)
        if read is None or read.until != until or read.counts[series] < count:
            return None
        return read if self._is_current(series, read) else None

    def _begin(self, wanted: Mapping[Series, int], until: datetime) -> _Read:
        task = asyncio.create_task(self._store.closed_bars_of(wanted, until), name="bars of the store")
        read = _Read(wanted, {series: self._versions[series] for series in wanted}, until, task)
        self._under_way.update(dict.fromkeys(wanted, read))
        task.add_done_callback(lambda _: self._landed(read))
        return read

    def _landed(self, read: _Read) -> None:
        for series in read.counts:
            if self._under_way.get(series) is read:
                del self._under_way[series]
        if not read.task.cancelled():
            read.task.exception()  # nobody may be left to take it out, and the task would complain

    async def first_open(self, series: Series) -> datetime | None:
        """Pass on."""
        return await self._store.first_open(series)

    async def symbols(self) -> Sequence[str]:
        """Pass on."""
        return await self._store.symbols()

    async def store(self, series: Series, bars: Bars, put_aside: PutAside, *, source: str) -> None:
        """Store bars; reads of the series that are under way are no answer from then on."""
        await self._store.store(series, bars, put_aside, source=source)
        self._versions[series] += 1

    async def rebase(self, series: Series, bars: Bars, put_aside: PutAside, *, source: str) -> None:
        """Store a history on another base; reads that are under way are no answer from then on."""
        await self._store.rebase(series, bars, put_aside, source=source)
        self._versions[series] += 1
