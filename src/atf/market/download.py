"""Download: a stretch of history from one provider into the store, piece by piece.

Each piece is checked and stored in a transaction of its own, so that what was fetched before an interruption
stays, and the next download goes on from there. A history on another base, as after a split, is stored at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Protocol

from atf.errors import TemporaryFailure
from atf.market.bar_store import NOTHING, PutAside
from atf.market.bars import Bars, Series
from atf.market.holes import RECENT_BARS, before_recent_hole, news
from atf.market.provider_lane import ProviderLane
from atf.market.rebasing import is_rebased
from atf.market.resampling import opening_time
from atf.market.usable_bars import usable_bars

_LOGGER = logging.getLogger(__name__)
_PIECE: Final = 5_000
"""Bars a piece; five pages of most exchanges."""
_TRIES: Final = 4
_LONGEST_PAUSE: Final = 60.0
_OLDEST: Final = 500
"""Bars that are fetched of a series of which nothing is stored, unless a first time is given."""

Sleep = Callable[[float], Awaitable[None]]
OnPiece = Callable[["Download"], None]


class DownloadStore(Protocol):
    """What a download needs of the store."""

    async def ends(self, series: Series) -> tuple[datetime, datetime] | None:
        """Return when the oldest and the newest stored bar open."""
        ...

    async def closed_bars_of(self, wanted: Mapping[Series, int], until: datetime) -> dict[Series, Bars]:
        """Return the newest stored bars of each series, so many at most, that are closed at an instant."""
        ...

    async def between(self, series: Series, since: datetime | None = None, until: datetime | None = None) -> Bars:
        """Return the stored bars of a stretch."""
        ...

    async def store(self, series: Series, bars: Bars, put_aside: PutAside = NOTHING, *, source: str = "") -> None:
        """Store bars and what was put aside, in one transaction."""
        ...

    async def rebase(self, series: Series, bars: Bars, put_aside: PutAside, *, source: str) -> None:
        """Store a history on another base and bring all other bars to it, in one transaction."""
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of history: bars that open at ``since`` or later and are closed at ``until``."""

    since: datetime
    until: datetime

    def has(self, instant: datetime) -> bool:
        """Whether a bar that opens at an instant belongs to it."""
        return self.since <= instant < self.until


@dataclass(frozen=True, slots=True)
class Download:
    """What was fetched of a series until now; ``reached`` is the end of the piece that came last."""

    series: Series
    bars: int = 0
    put_aside: int = 0
    reached: datetime | None = None
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class _Held:
    """What is stored: when its newest bar opens, and whether bars that are there already are replaced."""

    newest: datetime
    is_replaced: bool


class _OtherBase(Exception):
    """Stored prices are multiplied meanwhile, as ``fetched`` shows, so that nothing may be put beside them."""

    def __init__(self, fetched: Bars) -> None:
        super().__init__()
        self.fetched = fetched


class _Progress:
    """What was fetched until now of so many pieces, told piece by piece."""

    def __init__(self, series: Series, pieces: Sequence[Stretch], on_piece: OnPiece) -> None:
        self._total = sum((one.until - one.since for one in pieces), timedelta())
        self._done = timedelta()
        self._result = Download(series, share=1.0)
        self._on_piece = on_piece

    def note(self, piece: Stretch, good: Bars, bad: PutAside) -> None:
        """Take note of a piece that is there."""
        self._done += piece.until - piece.since
        self._result = replace(
            self._result,
            bars=self._result.bars + len(good),
            put_aside=self._result.put_aside + len(bad),
            reached=piece.until,
            share=self._done / self._total,
        )
        self._on_piece(self._result)

    def end(self) -> Download:
        """Return what was fetched in all."""
        return replace(self._result, share=1.0)


class Downloader:
    """Fetches history from one provider; it waits as long as the provider asks for."""

    def __init__(self, lane: ProviderLane, store: DownloadStore, *, sleep: Sleep = asyncio.sleep) -> None:
        self._lane = lane
        self._store = store
        self._sleep = sleep

    async def download(
        self,
        series: Series,
        since: datetime | None,
        until: datetime,
        *,
        keep: bool = True,
        again: bool = False,
        on_piece: OnPiece = lambda _: None,
    ) -> Download:
        """Fetch what is not stored yet of a series between two instants; all of it if ``again``.

        Without ``since`` it goes on behind the newest stored bar, or from a recent hole on. ``keep``: whether the
        bars are stored. If these are on another base, the whole history is fetched anew, and what is not given
        any more brought to that.

        Errors: NotFound if the provider does not know the series; TemporaryFailure after some tries.
        """
        stored = await self._store.ends(series)
        pieces = await self._missing_pieces(series, since, until, None if again else stored)
        if not keep or stored is None:
            return await self._in_pieces(series, pieces, on_piece, keep=keep)
        try:
            return await self._in_pieces(series, pieces, on_piece, held=_Held(stored[1], is_replaced=again))
        except _OtherBase as exc:
            newest = exc.fetched
            _LOGGER.warning("The history of %s has another base at %s: fetching anew", series, self._lane.name)
        whole = Stretch(min(stored[0], since or stored[0]), max(until, stored[1] + series.timeframe.length))
        return await self._at_once(series, whole, newest, on_piece)

    async def _missing_pieces(
        self, series: Series, since: datetime | None, until: datetime, ends: tuple[datetime, datetime] | None
    ) -> list[Stretch]:
        """Return what is to be fetched, piece by piece; ``ends``: the oldest and the newest stored bar."""
        if ends is not None:
            oldest, newest = ends
            wanted = {series: RECENT_BARS}
            recent = await self._store.closed_bars_of(wanted, newest + series.timeframe.length)
            ends = oldest, before_recent_hole(recent[series], series.timeframe)
        stretches = missing_stretches(series, since, until, ends)
        return [piece for stretch in stretches for piece in _in_order(stretch, series, ends)]

    async def _in_pieces(
        self,
        series: Series,
        pieces: Sequence[Stretch],
        on_piece: OnPiece,
        *,
        keep: bool = True,
        held: _Held | None = None,
    ) -> Download:
        """Fetch pieces and store each by itself. Errors: _OtherBase, with nothing stored; see ``_beside``."""
        if held is not None and pieces and not pieces[0].has(held.newest):
            newest = Stretch(held.newest, held.newest + series.timeframe.length)
            await self._beside(held, series, newest, (await self._usable(series, newest))[0])
        progress = _Progress(series, pieces, on_piece)
        for piece in pieces:
            good, bad = await self._usable(series, piece)
            if held is not None and piece.has(held.newest):
                good = await self._beside(held, series, piece, good)
            if keep and (len(good) or len(bad)):
                await self._store.store(series, good, bad, source=self._lane.name)
            progress.note(piece, good, bad)
        return progress.end()

    async def _at_once(self, series: Series, whole: Stretch, newest: Bars, on_piece: OnPiece) -> Download:
        """Fetch the whole history and store it in one transaction, as half of it would be on the old base."""
        pieces = pieces_of(whole, series)
        progress = _Progress(series, pieces, on_piece)
        good_ones, bad_ones = [], []
        for piece in pieces:
            good, bad = await self._usable(series, piece)
            good_ones.append(good)
            bad_ones.append(bad)
            progress.note(piece, good, bad)
        bars, aside = Bars.in_a_row(good_ones), PutAside.joined(bad_ones)
        if is_rebased(bars, newest):
            raise TemporaryFailure(f"{self._lane.name} has two bases of {series} at once")
        await self._store.rebase(series, newest.joined_with(bars), aside, source=self._lane.name)
        return progress.end()

    async def _usable(self, series: Series, piece: Stretch) -> tuple[Bars, PutAside]:
        """Return the usable bars of a piece and the others."""
        return usable_bars(await self._patiently(series, piece), series.timeframe, piece.until)

    async def _beside(self, held: _Held, series: Series, piece: Stretch, fetched: Bars) -> Bars:
        """Return what is to be stored of a piece in which the newest stored bar is.

        Errors: _OtherBase if that bar comes back with all its prices multiplied, as after a split.
        """
        stored = await self._store.between(series, piece.since, held.newest + series.timeframe.length)
        if is_rebased(stored, fetched):
            raise _OtherBase(fetched)
        return fetched if held.is_replaced or not len(stored) else news(stored, fetched)

    async def _patiently(self, series: Series, piece: Stretch) -> Bars:
        """Ask for a piece, again after a pause if the provider cannot answer now."""
        count = (piece.until - piece.since) // series.timeframe.length + 1
        for number in range(_TRIES):
            try:
                return await self._lane.closed_bars(series, piece.until, count, piece.since)
            except TemporaryFailure as exc:
                if number == _TRIES - 1:
                    raise
                await self._sleep(min(exc.retry_after_seconds or 2.0**number, _LONGEST_PAUSE))
        raise AssertionError("the last try either answers or raises")


def missing_stretches(
    series: Series, since: datetime | None, until: datetime, ends: tuple[datetime, datetime] | None
) -> tuple[Stretch, ...]:
    """Return what is not stored: behind one bar, which is fetched once more, and before the oldest one.

    ``ends``: the oldest stored bar, and the newest without a recent hole before it. What is behind that comes
    first, as it tells whether what is stored can be gone on from.

    Both reach up to what is stored, also where less is asked for: only the ends of a series tell what is missing,
    so that nobody would ever fill a hole.
    """
    if ends is None:
        first = since or until - _OLDEST * series.timeframe.length
        return (Stretch(first, until),) if first < until else ()
    oldest, newest = ends
    before = Stretch(since, oldest) if since is not None and since < min(oldest, until) else None
    behind = Stretch(newest, until) if newest < until and (since is None or since < until) else None
    return tuple(one for one in (behind, before) if one is not None)


def _in_order(stretch: Stretch, series: Series, ends: tuple[datetime, datetime] | None) -> list[Stretch]:
    """Return the pieces of a stretch from what is stored outwards.

    Only the ends of a series tell the next download what is missing, so an interruption must leave no hole.
    """
    pieces = pieces_of(stretch, series)
    return pieces if ends is None or stretch.since >= ends[0] else pieces[::-1]


def pieces_of(stretch: Stretch, series: Series) -> list[Stretch]:
    """Part a stretch into pieces, oldest first, of so many bars that each is soon stored.

    They meet where a bar opens: one across a border would not be closed in the first piece and would not
    begin in the second.
    """
    step = _PIECE * series.timeframe.length
    count = max(1, -(-(stretch.until - stretch.since) // step))
    inner = [opening_time(stretch.since + number * step, series.timeframe) for number in range(1, count)]
    return [Stretch(begin, end) for begin, end in pairwise([stretch.since, *inner, stretch.until])]
