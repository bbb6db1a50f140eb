"""Bars from providers that are asked over a network: from memory, else from the store, else by one shared fetch.

An answer from memory is good until a further bar should have closed. Then the provider is asked for what is
missing, once for all who wait for the series; a bar that it does not have yet is asked for again after a short
pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from atf.market.bar_memory import BarMemory, Held
from atf.market.bar_store import BarStore
from atf.market.bars import Bars, Series, Timeframe
from atf.market.due_bars import DueBars
from atf.market.fetched_bars import Absent, Answer, Outcome
from atf.market.provider_lane import ProviderLane
from atf.market.refresher import Refresher
from atf.market.stragglers import Fetch, late_of

_LOGGER = logging.getLogger(__name__)
_RELOAD_AFTER: Final = 300.0
"""Seconds after which the store is read again: another process may have mended the history of a series."""
_PARTS_OF_A_TIMEFRAME: Final = 12
"""A missing bar is asked for again a twelfth of its length later, or after the time to live if that is less."""
_PARTS_OF_LATENESS: Final = 8
_SHORTEST_PAUSE: Final = 0.25
"""But at the latest after an eighth of the time that it was late, and this many seconds: whoever waits twice as
long as a bar is late must not be answered from before it was published."""

Chains = Mapping[Series, Sequence[ProviderLane]]


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """``ttl`` bounds how soon the same missing bar is asked for again; ``most_bars`` what memory holds."""

    ttl: timedelta = timedelta(seconds=60)
    most_bars: int = 2_000_000


class RemoteBars:
    """Everything that is known of series with a provider on a network."""

    def __init__(
        self, store: BarStore, due: DueBars, limits: CacheLimits, monotonic: Callable[[], float]
    ) -> None:
        self._store = store
        self._due = due
        self._ttl = limits.ttl.total_seconds()
        self._memory = BarMemory(limits.most_bars)
        self._refresher = Refresher(store)
        self._under_way: dict[Series, Fetch] = {}
        self._monotonic = monotonic

    async def close(self) -> None:
        """End all fetches."""
        tasks = [fetch.task for fetch in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def bars(
        self, chains: Chains, wanted: Mapping[Series, int], until: datetime, deadline: float
    ) -> dict[Series, Outcome]:
        """Return what is known of each series at the deadline (of the event loop), sooner if few are missing.

        Errors: what the store raises; a provider's programming error.
        """
        dues = await self._due.newest_of(wanted, until)
        answers = self._warm_answers(wanted, dues, until)
        cold = {series: count for series, count in wanted.items() if series not in answers}
        if not cold:
            return answers
        late = await self._brought_up_to_date(chains, cold, dues, until, deadline, others=len(answers))
        needed = self._needed(cold, until)
        return answers | {
            series: Absent("not ready in time", may_come=True)
            if series in late
            else self._outcome(series, count, needed[series], dues[series], until)
            for series, count in cold.items()
        }

    async def compared(
        self, chains: Chains, wanted: Collection[Series], until: datetime, deadline: float
    ) -> dict[Series, Bars]:
        """Return what is held of series that their own provider was just asked for, so that all is on one base.

        Asked less than the time to live ago is just now. Series that are late, or whose provider does not answer,
        are missing.

        Errors: as ``bars``.
        """
        await self._load({one: 1 for one in wanted if self._memory.get(one) is None}, until)
        latest = self._monotonic() - self._ttl
        old = [one for one in wanted if (held := self._held(one)).tried_until is None or held.tried_at <= latest]
        fetches = {one: self._refresh(one, chains[one], until, max(1, len(self._held(one).bars))) for one in old}
        late = await late_of(fetches, len(fetches), deadline)
        return {one: held.bars for one in wanted if one not in late and (held := self._held(one)).trouble is None}

    def holds(self, series: Series) -> bool:
        """Whether anything is remembered of a series."""
        return self._memory.get(series) is not None

    def _warm_answers(
        self, wanted: Mapping[Series, int], dues: Mapping[Series, datetime], until: datetime
    ) -> dict[Series, Outcome]:
        """Return the answers of which all is held, and nothing newer: nearly all, at one look for each."""
        loaded_after = self._monotonic() - _RELOAD_AFTER
        answers: dict[Series, Outcome] = {}
        for series, count in wanted.items():
            held = self._memory.get(series)
            if held is None or held.newest_open() != dues[series]:
                continue
            if held.has(count) and held.loaded_at >= loaded_after:
                answers[series] = Answer(held.answer(count, until - series.timeframe.length))
        return answers

    def _needed(self, wanted: Mapping[Series, int], until: datetime) -> dict[Series, int]:
        """Return how many bars must be held to answer: those wanted and, for the past, all that may be newer.

        What is held reaches back from its newest bar without a hole, so that it cannot begin with what is wanted.
        """
        needed: dict[Series, int] = {}
        for series, count in wanted.items():
            held = self._memory.get(series)
            newest = None if held is None else held.newest_open()
            length = series.timeframe.length
            newer = 0 if newest is None else max(0, -((until - length - newest) // length))
            needed[series] = count + newer
        return needed

    async def _brought_up_to_date(
        self,
        chains: Chains,
        wanted: Mapping[Series, int],
        dues: Mapping[Series, datetime],
        until: datetime,
        deadline: float,
        *,
        others: int,
    ) -> set[Series]:
        """Read the store, let providers be asked for what is missing, and return the series that are late.

        A fetch that somebody else had begun may have been for fewer bars or an earlier instant: who joined it
        looks again when it is over. ``others``: so many series are wanted beside these.
        """
        needed = self._needed(wanted, until)
        await self._load({s: count for s, count in needed.items() if self._is_to_be_loaded(s, count)}, until)
        late: set[Series] = set()
        open_series = set(wanted)
        while open_series:
            needed = self._needed({one: wanted[one] for one in open_series}, until)
            missing = [one for one in open_series if self._must_ask(one, needed[one], dues[one], until)]
            joined = {series for series in missing if series in self._under_way}
            fetches = {series: self._refresh(series, chains[series], until, needed[series]) for series in missing}
            late |= await late_of(fetches, len(wanted) + others, deadline)
            open_series = joined - late
        return late

    # --- the store ---

    def _is_to_be_loaded(self, series: Series, count: int) -> bool:
        held = self._memory.get(series)
        if held is None:
            return True
        is_old = self._monotonic() - held.loaded_at > _RELOAD_AFTER
        return is_old or (held.loaded_count < count and not held.has(count))

    async def _load(self, wanted: Mapping[Series, int], until: datetime) -> None:
        if not wanted:
            return
        counts = {series: max(count, self._held(series).loaded_count) for series, count in wanted.items()}
        newest = [_closed_by(series, self._held(series)) for series in wanted]
        stored = await self._store.closed_bars_of(counts, max([until, *filter(None, newest)]))
        now = self._monotonic()
        for series, bars in stored.items():
            held = self._held(series)
            held.loaded_at, held.loaded_count, held.is_whole = now, counts[series], False
            held.replace(bars, held.borrowed)
            self._memory.put(series, held)

    # --- the providers ---

    def _must_ask(self, series: Series, count: int, due: datetime, until: datetime) -> bool:
        """Whether a provider has to be asked before there is an answer."""
        held = self._held(series)
        newest = held.newest_open()
        if held.has(count) and newest is not None and newest >= due:
            return False
        tried, closed = held.tried_until, due + series.timeframe.length
        if tried is None or tried < closed <= until:
            return True
        is_short = held.trouble is None and held.absent is None and not held.has(count)
        if is_short and held.tried_count < count:
            return True
        return self._monotonic() - held.tried_at >= self._pause(series.timeframe, tried - closed)

    def _pause(self, timeframe: Timeframe, late: timedelta) -> float:
        """Return after how many seconds a bar is asked for again that was so late when it was asked for last."""
        longest = min(self._ttl, timeframe.length.total_seconds() / _PARTS_OF_A_TIMEFRAME)
        return min(longest, max(_SHORTEST_PAUSE, late.total_seconds() / _PARTS_OF_LATENESS))

    def _refresh(self, series: Series, lanes: Sequence[ProviderLane], until: datetime, count: int) -> Fetch:
        """Return the one fetch of the series that is under way, or begin it."""
        fetch = self._under_way.get(series)
        if fetch is None:
            task = asyncio.create_task(self._fetch(series, lanes, until, count), name=f"bars of {series}")
            fetch = self._under_way[series] = Fetch(task, asyncio.get_running_loop().time())
            task.add_done_callback(lambda done: self._landed(series, done))
        return fetch

    async def _fetch(self, series: Series, lanes: Sequence[ProviderLane], until: datetime, count: int) -> None:
        held = self._held(series)
        as_of = max(until, _closed_by(series, held) or until)
        await self._refresher.refresh(series, lanes, held, as_of, count)
        held.tried_until, held.tried_at = as_of, self._monotonic()
        held.tried_count = max(held.tried_count, count)
        self._memory.put(series, held)

    def _landed(self, series: Series, task: asyncio.Task[None]) -> None:
        self._under_way.pop(series, None)
        if not task.cancelled() and task.exception() is not None:
            _LOGGER.debug("Fetching %s ended with %r", series, task.exception())

    # --- the answer ---

    def _held(self, series: Series) -> Held:
        held = self._memory.get(series)
        if held is None:  # never asked for, or dropped as memory is full
            held = Held(self._monotonic(), 0)
            self._memory.put(series, held)
        return held

    def _outcome(self, series: Series, count: int, needed: int, due: datetime, until: datetime) -> Outcome:
        held = self._held(series)
        newest = held.newest_open()
        if held.trouble is not None and not held.has(needed):
            # Indicators of a shorter history have other values: what would fire on them may be wrong.
            return Absent(held.trouble, may_come=True)
        if newest is None and held.absent is not None:
            return Absent(held.absent, may_come=False)
        is_missing = newest is None or newest < due
        stale = None
        if is_missing and held.trouble is not None:
            stale = f"Market data unavailable for {series.symbol}, using cached data: {held.trouble}"
        return Answer(held.answer(count, until - series.timeframe.length), stale, is_missing and stale is None)


def _closed_by(series: Series, held: Held) -> datetime | None:
    """Return when the newest held bar closed: a question about the past takes nothing newer out of memory."""
    newest = held.newest_open()
    return None if newest is None else newest + series.timeframe.length
