"""Refresher: brings what is held of one series up to date from the providers of its chain.

The first provider that knows the series is its own: what it gives is checked, stored and kept. While that one
does not answer, the next one's newer bars are borrowed: used, but never stored, as two sources do not agree to
the cent and a series made of both would jump where they meet. Bars of a local provider are the user's own and
only borrowed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from atf.errors import AtfError, NotFound, TemporaryFailure
from atf.market.bar_memory import Held
from atf.market.bar_store import BarStore, PutAside
from atf.market.bars import Bars, Series
from atf.market.holes import before_recent_hole, news
from atf.market.provider_lane import ProviderLane
from atf.market.rebasing import is_rebased
from atf.market.usable_bars import usable_bars

_LOGGER = logging.getLogger(__name__)
_ALL: Final = 10_000_000


class Refresher:
    """Asks the providers of a chain for what is missing, and only for that."""

    def __init__(self, store: BarStore) -> None:
        self._store = store

    async def refresh(
        self, series: Series, lanes: Sequence[ProviderLane], held: Held, until: datetime, count: int
    ) -> None:
        """Fill ``held`` with the newest ``count`` bars that are closed at ``until``, or say in it why not.

        Errors: none of a provider (see ``Held.trouble`` and ``absent``); those of the store.
        """
        trouble: str | None = None
        reasons: list[str] = []
        for lane in lanes:
            try:
                if trouble is None and not lane.traits.is_local:
                    await self._take(lane, series, held, until, count)
                else:
                    await self._borrow(lane, series, held, until, count)
            except NotFound as exc:
                reasons.append(str(exc))
            except TemporaryFailure as exc:
                trouble = trouble or str(exc)
            except AtfError as exc:
                # Something of the user's is broken, such as a file: the next provider must not hide it.
                reasons = [str(exc)]
                break
            else:
                held.trouble, held.absent = trouble, None
                return
        held.trouble = trouble
        held.absent = None if trouble else reasons[-1] if reasons else "no provider of bars is configured"

    async def _take(self, lane: ProviderLane, series: Series, held: Held, until: datetime, count: int) -> None:
        """Fetch from the series' own provider; store what is new and hold it."""
        since = None if _is_short(held, count) else before_recent_hole(held.bars, series.timeframe)
        wanted = count if since is None else _bars_since(since, series, until)
        good, put_aside = usable_bars(
            await lane.closed_bars(series, until, wanted, since), series.timeframe, until
        )
        if is_rebased(held.bars, good):
            await self._take_anew(lane, series, held, until, good, count)
            return
        new = good if since is None else news(held.bars, good)
        await self._store_noting(lane, series, new, put_aside)
        held.is_whole = held.is_whole or (since is None and 0 < len(good) + len(put_aside) < wanted)
        held.replace(held.bars.joined_with(new))

    async def _take_anew(
        self, lane: ProviderLane, series: Series, held: Held, until: datetime, newest: Bars, count: int
    ) -> None:
        """Fetch the whole history, as what is held of it cannot be gone on from; hold what is stored then.

        What the provider does not give any more is brought to the new base in the store.
        """
        _LOGGER.warning("The history of %s has another base at %s: it is fetched anew", series, lane.name)
        since = await self._store.first_open(series)
        good, put_aside = usable_bars(await lane.closed_bars(series, until, _ALL, since), series.timeframe, until)
        if is_rebased(good, newest):
            raise TemporaryFailure(f"{lane.name} has two bases of {series} at once")
        _log_put_aside(series, lane, put_aside)
        await self._store.rebase(series, newest.joined_with(good), put_aside, source=lane.name)
        wanted = max(count, held.loaded_count, len(held.bars) + len(newest))
        held.replace((await self._store.closed_bars_of({series: wanted}, until))[series])

    async def _store_noting(self, lane: ProviderLane, series: Series, bars: Bars, put_aside: PutAside) -> None:
        if len(bars) or len(put_aside):
            _log_put_aside(series, lane, put_aside)
            await self._store.store(series, bars, put_aside, source=lane.name)

    async def _borrow(self, lane: ProviderLane, series: Series, held: Held, until: datetime, count: int) -> None:
        """Fetch from a fallback what is newer than what is held; all of it each time, so that no hole stays."""
        since = None if _is_short(held, count) else held.bars.time_at(-1)
        wanted = count if since is None else _bars_since(since, series, until)
        good, _ = usable_bars(await lane.closed_bars(series, until, wanted, since), series.timeframe, until)
        newer = good if not len(held.bars) else good[good.first_after(held.bars.time_at(len(held.bars) - 1)) :]
        held.replace(held.bars, newer)


def _is_short(held: Held, count: int) -> bool:
    """Whether history is missing before what is held of the series' own provider."""
    return not len(held.bars) or (len(held.bars) < count and not held.is_whole)


def _bars_since(since: datetime, series: Series, until: datetime) -> int:
    """Return how many bars to ask for: the one of ``since``, to see that it agrees, and all that may follow."""
    return max(1, (until - since) // series.timeframe.length) + 1


def _log_put_aside(series: Series, lane: ProviderLane, put_aside: PutAside) -> None:
    if len(put_aside):
        _LOGGER.warning(
            "%d bars of %s from %s are put aside, the first as it %s",
            len(put_aside),
            series,
            lane.name,
            put_aside.reasons[0],
        )
