"""Bars that the clock has not closed yet: those that are forming, and those that their session has ended.

Both are looked at beside the closed bars and never stored; once the clock has closed them they are closed bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from atf.errors import NotFound
from atf.market.bar_store import BarStore
from atf.market.bars import Bars, Series
from atf.market.closing import EndedBar
from atf.market.fetched_bars import Absent, Answer, FetchedBars, Outcome
from atf.market.forming import FormingBar
from atf.market.forming_bars import FetchedForming, FormingBars, Seen
from atf.market.local_bars import local_bars
from atf.market.provider_lane import ProviderLane

Lanes = Callable[[str], Sequence[ProviderLane]]


class UnclosedBars:
    """Asks providers for bars of series in one spelling; ``lanes`` tells which a symbol has, in order."""

    def __init__(self, lanes: Lanes, store: BarStore, *, ttl: timedelta, monotonic: Callable[[], float]) -> None:
        self._lanes = lanes
        self._store = store
        self._forming = FormingBars(ttl, monotonic)

    async def close(self) -> None:
        """End all questions."""
        await self._forming.close()

    async def forming(self, wanted: Iterable[Series], now: datetime, deadline: float) -> FetchedForming:
        """Return the bars that are forming, as they were lately."""
        chains = {series: self._lanes(series.symbol) for series in wanted}
        seen = await self._forming.seen(chains, dict.fromkeys(chains), now, deadline)
        return FetchedForming(
            {s: one for s, one in seen.items() if isinstance(one, FormingBar) and _is_open(one, s, now)},
            {s: one.reason for s, one in seen.items() if isinstance(one, Absent)},
        )

    async def ended(self, wanted: Mapping[Series, EndedBar], now: datetime, deadline: float) -> FetchedBars:
        """Return bars that their session has ended; one that is not there yet is empty, awaited if it may come.

        A local source is the user's own: what it has of a bar whose session is over is the bar. Another one must
        have been asked after the session and the time that it takes to settle, and know the market up to its end.
        """
        lanes = {series: self._lanes(series.symbol) for series in wanted}
        local = {
            series: own for series in wanted if (own := [one for one in lanes[series] if one.traits.is_local])
        }
        outcomes = await self._from_local(local, wanted, deadline)
        open_series = [series for series in wanted if not isinstance(outcomes.get(series), Answer)]
        remote = {s: own for s in open_series if (own := [one for one in lanes[s] if not one.traits.is_local])}
        outcomes |= await self._from_remote(remote, wanted, now, deadline)
        for series in open_series:
            if series not in remote:
                outcomes[series] = Answer(await self._stored(series, wanted[series]))
        return FetchedBars.of(outcomes)

    async def require_forming(self, series: Series, now: datetime, deadline: float) -> None:
        """Return if the provider of the series has its forming bars, or may have them but does not answer now.

        Errors: NotFound, with what the provider says.
        """
        seen = await self._forming.seen({series: self._lanes(series.symbol)}, {series: None}, now, deadline)
        found = seen[series]
        if isinstance(found, Absent) and not found.may_come:
            raise NotFound(found.reason)

    async def _from_local(
        self, lanes: Mapping[Series, Sequence[ProviderLane]], wanted: Mapping[Series, EndedBar], deadline: float
    ) -> dict[Series, Outcome]:
        by_close: dict[datetime, list[Series]] = {}
        for series in lanes:
            by_close.setdefault(wanted[series].opens_at + series.timeframe.length, []).append(series)
        outcomes: dict[Series, Outcome] = {}
        for until, group in by_close.items():
            chains = {series: lanes[series] for series in group}
            outcomes |= await local_bars(chains, dict.fromkeys(group, 1), until, deadline)
        return {
            series: Answer(_of(one.bars, wanted[series])) if isinstance(one, Answer) else one
            for series, one in outcomes.items()
        }

    async def _from_remote(
        self,
        lanes: Mapping[Series, Sequence[ProviderLane]],
        wanted: Mapping[Series, EndedBar],
        now: datetime,
        deadline: float,
    ) -> dict[Series, Outcome]:
        since = {series: wanted[series].closed_at + own[0].traits.settle for series, own in lanes.items()}
        settled = {series: at for series, at in since.items() if at <= now}
        seen = await self._forming.seen({s: lanes[s] for s in settled}, settled, now, deadline)
        return {series: _ended(seen.get(series), wanted[series]) for series in lanes}

    async def _stored(self, series: Series, ended: EndedBar) -> Bars:
        """Return the bar as it was imported by hand."""
        until = ended.opens_at + series.timeframe.length
        return _of((await self._store.closed_bars_of({series: 1}, until))[series], ended)


def _ended(seen: Seen, ended: EndedBar) -> Answer:
    is_whole = isinstance(seen, FormingBar) and seen.seen_at >= ended.closed_at
    bars = _of(seen.bar, ended) if isinstance(seen, FormingBar) and is_whole else Bars.empty()
    return Answer(bars, is_awaited=not len(bars))


def _of(bars: Bars, ended: EndedBar) -> Bars:
    """Return the newest bar if it is the one that is meant."""
    is_meant = len(bars) and bars.time_at(len(bars) - 1) == ended.opens_at
    return bars.last(1) if is_meant else Bars.empty()


def _is_open(found: FormingBar, series: Series, now: datetime) -> bool:
    """Whether it is forming by our clock, too."""
    return found.is_open_at(now, series.timeframe)
