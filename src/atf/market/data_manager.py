"""DataManager: bars of many series in one call, from what is nearest: memory, the store, a provider.

Each symbol has a chain of providers, asked in order until one has it. No SQL, no files and no network here: those
are adapters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import takewhile
from typing import Final, NamedTuple

from atf.errors import InvalidInput, NotFound, TemporaryFailure
from atf.market.bar_store import BarStore
from atf.market.bars import Bars, Series, Timeframe
from atf.market.chains import Chains
from atf.market.closing import Closing, EndedBar
from atf.market.due_bars import DueBars
from atf.market.fetched_bars import Absent, Answer, FetchedBars, Outcome
from atf.market.forming_bars import FetchedForming
from atf.market.local_bars import local_bars
from atf.market.provider_lane import LaneState, ProviderLane
from atf.market.rebasing import is_far, is_rebased
from atf.market.remote_bars import CacheLimits, RemoteBars
from atf.market.shared_reads import SharedReads
from atf.market.symbols import canonical
from atf.market.unclosed_bars import UnclosedBars

_SHOWN_SYMBOLS: Final = 10


class _Lanes(NamedTuple):
    """The providers of a symbol: those that cost nothing to ask, and from the first other one on."""

    local: tuple[ProviderLane, ...]
    remote: tuple[ProviderLane, ...]


class DataManager:
    """Answers for many series at once; a slow series delays no other, and an absent one is an answer too."""

    def __init__(
        self,
        chains: Chains,
        store: BarStore,
        due: DueBars,
        *,
        patience: timedelta = timedelta(seconds=2),
        cache: CacheLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chains = chains
        self._store = store
        self._reads = SharedReads(store)
        self._due = due
        cache = cache or CacheLimits()
        self._remote = RemoteBars(self._reads, due, cache, monotonic)
        self._unclosed = UnclosedBars(chains.of, self._reads, ttl=cache.ttl, monotonic=monotonic)
        self._patience = patience
        self._lanes = lru_cache(maxsize=65_536)(self._part)

    async def close(self) -> None:
        """End all fetches and reads that are under way."""
        await self._remote.close()
        await self._unclosed.close()
        await self._reads.close()

    @property
    def providers(self) -> tuple[LaneState, ...]:
        """What is going on with each provider."""
        return tuple(lane.state for lane in self._chains.lanes)

    def provider_of(self, symbol: str) -> str | None:
        """Return the name of the provider whose bars of a symbol count most; None if nobody has any."""
        lanes = self._chains.of(in_one_spelling(Series(symbol, Timeframe.D1)).symbol)
        return lanes[0].name if lanes else None

    async def closed_bars(
        self, symbol: str, timeframe: Timeframe, until: datetime, n: int, *, within: timedelta | None = None
    ) -> Bars:
        """Return the newest ``n`` bars of one series that are closed at ``until``, or all if there are fewer.

        Errors: NotFound if nobody knows the series; TemporaryFailure if it is worth asking again.
        """
        series = Series(symbol, timeframe)
        fetched = await self.closed_bars_of({series: n}, until=until, within=within)
        if series in fetched.unknown:
            raise NotFound(fetched.unknown[series])
        if series in fetched.late:
            raise TemporaryFailure(f"the bars of {series} did not come in time")
        return fetched.ready[series]

    async def closed_bars_of(
        self, wanted: Mapping[Series, int], *, until: datetime, within: timedelta | None = None
    ) -> FetchedBars:
        """Return the newest bars of each series, as many as wanted, that are closed at ``until``.

        Time:   returns about ``within`` later at the latest (the manager's patience if not given).
        Errors: none for a series that cannot be had (see FetchedBars); a provider's programming error and
                what the store raises end the whole call.
        """
        deadline = self._deadline(within)
        spelled = {series: in_one_spelling(series) for series in wanted}
        outcomes = await self._outcomes(_largest(spelled, wanted), until, deadline)
        return FetchedBars.of({s: _at_most(wanted[s], outcomes[one]) for s, one in spelled.items()})

    async def forming_bars_of(
        self, wanted: Iterable[Series], *, now: datetime, within: timedelta | None = None
    ) -> FetchedForming:
        """Return the bar of each series that is forming at ``now``, as it was lately: see ``FormingBars``.

        They come from the providers alone, are never stored and are no part of what ``closed_bars_of`` returns.

        Time:   at most half of the cache's time to live old, and a twelfth of a timeframe; returns about
                ``within`` later at the latest.
        Errors: none for a series that cannot be had; a provider's programming error ends the call.
        """
        spelled = {series: in_one_spelling(series) for series in wanted}
        found = await self._unclosed.forming(set(spelled.values()), now, self._deadline(within))
        return FetchedForming(
            {series: found.ready[one] for series, one in spelled.items() if one in found.ready},
            {series: found.absent[one] for series, one in spelled.items() if one in found.absent},
        )

    async def ended_bars_of(
        self, wanted: Mapping[Series, EndedBar], *, now: datetime, within: timedelta | None = None
    ) -> FetchedBars:
        """Return the bar of each series that its session has ended, though by the clock it is not closed yet.

        Shape:  one bar each, or none if it is not there yet.
        Time, Errors: as ``forming_bars_of``, and what the store raises.
        """
        spelled = {series: in_one_spelling(series) for series in wanted}
        ended = {one: wanted[series] for series, one in spelled.items()}
        found = await self._unclosed.ended(ended, now, self._deadline(within))
        return FetchedBars(
            ready={series: found.ready[one] for series, one in spelled.items()},
            awaited=frozenset(series for series, one in spelled.items() if one in found.awaited),
        )

    async def on_other_base(
        self, seen: Mapping[Series, tuple[Bars, Bars]], *, now: datetime, within: timedelta | None = None
    ) -> frozenset[Series]:
        """Return the series whose closed bars no unclosed one may follow now, as a split may lie between.

        ``seen``: closed bars as they were answered, and the bar that is to follow. Where that one is far off,
        the provider is asked for the closed ones again. If these are on another base, all are fetched anew, and
        the next answer has them. Of other series nobody is asked.

        Time:   as ``forming_bars_of``; a series whose provider does not answer in time is returned.
        Errors: what the store raises; a provider's programming error.
        """
        far = {series: in_one_spelling(series) for series, (closed, bar) in seen.items() if is_far(closed, bar)}
        asked = {one: self._lanes(one.symbol).remote for one in far.values() if self._is_remote(one)}
        if not asked:
            return frozenset()
        newest = await self._remote.compared(asked, asked, now, self._deadline(within))
        return frozenset(
            series
            for series, one in far.items()
            if one in asked and (one not in newest or is_rebased(seen[series][0], newest[one]))
        )

    def _is_remote(self, series: Series) -> bool:
        """Whether the bars of a series are those of a provider on a network."""
        lanes = self._lanes(series.symbol)
        return bool(lanes.remote) and (not lanes.local or self._remote.holds(series))

    async def closing(self, timeframe: Timeframe, calendar: str | None) -> Closing:
        """Return when bars close that end with the sessions of a calendar, by the clock without one.

        Errors: InvalidInput with ``field`` "calendar" if there is none of this name.
        """
        return await self._due.closing(timeframe, calendar)

    def _deadline(self, within: timedelta | None) -> float:
        patience = self._patience if within is None else within
        return asyncio.get_running_loop().time() + patience.total_seconds()

    async def _outcomes(
        self, wanted: Mapping[Series, int], until: datetime, deadline: float
    ) -> dict[Series, Outcome]:
        lanes = {series: self._lanes(series.symbol) for series in wanted}
        local = {series: first for series, (first, _) in lanes.items() if first}
        outcomes = await local_bars(local, wanted, until, deadline)
        further = {s: each.remote for s, each in lanes.items() if each.remote and _is_open(outcomes.get(s))}
        if further:
            found = await self._remote.bars(further, {s: wanted[s] for s in further}, until, deadline)
            outcomes |= {s: _joined(outcomes[s], each) for s, each in found.items() if s in outcomes}
            outcomes = found | outcomes
        open_ones = {s: n for s, n in wanted.items() if not isinstance(outcomes.get(s), Answer)}
        unknown = {s: n for s, n in open_ones.items() if _is_unknown(outcomes.get(s))}
        await self._add_imported(unknown, outcomes, until)
        return outcomes

    def _part(self, symbol: str) -> _Lanes:
        chain = self._chains.of(symbol)
        local = tuple(takewhile(lambda lane: lane.traits.is_local, chain))
        return _Lanes(local, chain[len(local) :])

    async def _add_imported(
        self, wanted: Mapping[Series, int], outcomes: dict[Series, Outcome], until: datetime
    ) -> None:
        """Answer with what was imported by hand for series that no provider knows."""
        if not wanted:
            return
        for series, bars in (await self._store.closed_bars_of(wanted, until)).items():
            if len(bars) or await self._store.first_open(series) is not None:
                outcomes[series] = Answer(bars)
            else:
                outcomes.setdefault(series, Absent("no provider of bars is configured", may_come=False))

    async def require_known(self, symbol: str, timeframe: Timeframe, *, field: str) -> None:
        """Return if a provider has bars of the symbol at the timeframe.

        Errors: InvalidInput at ``field`` if none has, with what is known here; TemporaryFailure if none has
                and one could not tell.
        """
        if not await self._is_known(in_one_spelling(Series(symbol, timeframe))):
            raise InvalidInput(await self._why_unknown(symbol, timeframe), field=field)

    async def require_forming(self, symbol: str, timeframe: Timeframe, *, now: datetime, field: str) -> None:
        """Return if the provider of the series can tell of a bar that is forming, or does not answer now.

        Errors: InvalidInput at ``field`` if it cannot.
        """
        try:
            await self._unclosed.require_forming(
                in_one_spelling(Series(symbol, timeframe)), now, self._deadline(None)
            )
        except NotFound as exc:
            raise InvalidInput(
                f"its bars can be looked at only when they have closed: {exc}", field=field
            ) from exc

    async def _why_unknown(self, symbol: str, timeframe: Timeframe) -> str:
        others = [in_one_spelling(Series(symbol, other)) for other in Timeframe]
        elsewhere = [str(other.timeframe) for other in others if await self._is_known(other)]
        if elsewhere:
            return f"ticker {symbol!r} has no bars at {timeframe} here; it has {', '.join(elsewhere)}"
        known = await self._symbols()
        near = get_close_matches(symbol.upper(), known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"unknown ticker {symbol!r} at {timeframe}{hint}; known here: {_listing(known)}"

    async def _is_known(self, series: Series) -> bool:
        if await self._store.first_open(series) is not None:
            return True
        silent: list[str] = []
        for lane in self._chains.of(series.symbol):
            try:
                async with asyncio.timeout(self._patience.total_seconds()):
                    if await lane.knows(series.symbol, series.timeframe):
                        return True
            except (TemporaryFailure, TimeoutError):
                silent.append(lane.name)
        if silent:
            names = ", ".join(silent)
            raise TemporaryFailure(f"cannot check ticker {series.symbol!r} now: no answer from {names}")
        return False

    async def _symbols(self) -> list[str]:
        known: set[str] = set()
        for lane in self._chains.lanes:
            try:
                async with asyncio.timeout(self._patience.total_seconds()):
                    known.update(await lane.symbols())
            except (TemporaryFailure, TimeoutError):
                continue
        known.update(await self._store.symbols())
        return sorted(known)


@lru_cache(maxsize=65_536)
def in_one_spelling(series: Series) -> Series:
    """Return the series with its symbol as ATF spells it; what is no symbol stays, as nobody will know it."""
    try:
        return Series(canonical(series.symbol), series.timeframe)
    except InvalidInput:
        return series


def _largest(spelled: Mapping[Series, Series], wanted: Mapping[Series, int]) -> dict[Series, int]:
    """Return how many bars are wanted of each series, whatever it was called."""
    counts: dict[Series, int] = {}
    for series, one in spelled.items():
        counts[one] = max(counts.get(one, 0), wanted[series])
    return counts


def _at_most(count: int, outcome: Outcome) -> Outcome:
    """Return an answer without the bars that only somebody wanted who calls the series otherwise."""
    if isinstance(outcome, Absent) or len(outcome.bars) <= count:
        return outcome
    return replace(outcome, bars=outcome.bars.last(count))


def _is_open(outcome: Outcome | None) -> bool:
    """Whether further providers may be asked: those before them neither had bars nor something broken."""
    return outcome is None or (isinstance(outcome, Absent) and not outcome.is_broken)


def _is_unknown(outcome: Outcome | None) -> bool:
    """Whether no provider has ever heard of the series."""
    return outcome is None or (isinstance(outcome, Absent) and not outcome.may_come and not outcome.is_broken)


def _joined(first: Outcome | None, second: Outcome) -> Outcome:
    """Return what came of two sources: bars of the second, or that one of them may have some later."""
    if isinstance(first, Absent) and first.may_come and isinstance(second, Absent):
        return first
    return second


def _listing(symbols: Sequence[str]) -> str:
    """Return the first few symbols for a message."""
    cut = ", ..." if len(symbols) > _SHOWN_SYMBOLS else ""
    return (", ".join(symbols[:_SHOWN_SYMBOLS]) + cut) or "none"
