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

import numpy as np

from atf.errors import AtfError, NotFound, TemporaryFailure
from atf.market.bar_memory import Held
from atf.market.bar_store import BarStore, PutAside
from atf.market.bars import Bars, Series
from atf.market.provider_lane import ProviderLane
from atf.market.usable_bars import usable_bars

_LOGGER = logging.getLogger(__name__)
_ALL: Final = 10_000_000
_SAME_RATIO: Final = 1e-4
_REBASED: Final = 0.005


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
        since, wanted = _missing(series, held.bars, until, count, is_whole=held.is_whole)
        fetched = usable_bars(await lane.closed_bars(series, until, wanted, since), series.timeframe, until)
        has_other_base = is_rebased(held.bars, fetched[0])
        if has_other_base:
            since = await self._store.first_open(series)
            _LOGGER.warning("The history of %s has another base at %s: it is fetched anew", series, lane.name)
            fetched = usable_bars(await lane.closed_bars(series, until, _ALL, since), series.timeframe, until)
        good, put_aside = fetched
        new = _changed(held.bars, good)
        if len(new) or len(put_aside):
            _log_put_aside(series, lane, put_aside)
            await self._store.store(series, new, put_aside, source=lane.name)
        held.is_whole = held.is_whole or (since is None and 0 < len(good) + len(put_aside) < wanted)
        held.replace(good if has_other_base else held.bars.followed_by(good))

    async def _borrow(self, lane: ProviderLane, series: Series, held: Held, until: datetime, count: int) -> None:
        """Fetch from a fallback what is newer than what is held."""
        since, wanted = _missing(series, held.bars, until, count, is_whole=held.is_whole)
        good, _ = usable_bars(await lane.closed_bars(series, until, wanted, since), series.timeframe, until)
        newer = good if not len(held.bars) else good[good.first_after(held.bars.time_at(len(held.bars) - 1)) :]
        held.replace(held.bars, newer)


def _missing(
    series: Series, held: Bars, until: datetime, count: int, *, is_whole: bool
) -> tuple[datetime | None, int]:
    """Return from when on bars are wanted and how many: the newest held one once more, to see that it agrees."""
    if not len(held) or (len(held) < count and not is_whole):
        return None, count
    newest = held.time_at(len(held) - 1)
    return newest, max(1, (until - newest) // series.timeframe.length) + 1


def is_rebased(held: Bars, fetched: Bars) -> bool:
    """Whether a bar that both have differs in all its prices by one and the same factor, as after a split.

    Going on from there would put a jump into the series that no market made.
    """
    if not len(held) or not len(fetched):
        return False
    at = int(np.searchsorted(fetched.open_time, held.open_time[-1]))
    if at == len(fetched) or fetched.open_time[at] != held.open_time[-1]:
        return False
    names = ("open", "high", "low", "close")
    ratios = np.array([fetched.column(name)[at] / held.column(name)[-1] for name in names])
    return bool(np.ptp(ratios) < _SAME_RATIO * abs(ratios[0]) and abs(ratios[0] - 1) > _REBASED)


def _changed(held: Bars, good: Bars) -> Bars:
    """Return the fetched bars without a first one that is held exactly so."""
    if not len(held) or not len(good) or good.open_time[0] != held.open_time[-1]:
        return good
    names = ("open", "high", "low", "close", "volume")
    is_same = all(np.array_equal(good.column(name)[:1], held.column(name)[-1:], equal_nan=True) for name in names)
    return good[1:] if is_same else good


def _log_put_aside(series: Series, lane: ProviderLane, put_aside: PutAside) -> None:
    if len(put_aside):
        _LOGGER.warning(
            "%d bars of %s from %s are put aside, the first as it %s",
            len(put_aside),
            series,
            lane.name,
            put_aside.reasons[0],
        )
