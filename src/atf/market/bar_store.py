"""What the DataManager needs of the store of bars: a Protocol, and what is put aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Final, Protocol

from atf.market.bars import Bars, Series
from atf.market.quality import Flaw


@dataclass(frozen=True, slots=True)
class PutAside:
    """Bars that must not be used, each with its reason."""

    bars: Bars
    reasons: tuple[Flaw, ...]

    def __len__(self) -> int:
        return len(self.bars)

    @classmethod
    def joined(cls, parts: Sequence[PutAside]) -> PutAside:
        """Return all of them; of a bar that is there twice the last one counts, with its own reason."""
        reasons: dict[int, Flaw] = {}
        for part in parts:
            reasons.update(zip(part.bars.open_time.tolist(), part.reasons, strict=True))
        bars = reduce(Bars.joined_with, (part.bars for part in parts), Bars.empty())
        return cls(bars, tuple(reasons[time] for time in bars.open_time.tolist()))


NOTHING: Final = PutAside(Bars.empty(), ())


class BarStore(Protocol):
    """Bars that outlive the process, the same for all processes."""

    async def closed_bars_of(self, wanted: Mapping[Series, int], until: datetime) -> dict[Series, Bars]:
        """Return the newest bars of each series that are closed at ``until``, empty where nothing is stored."""
        ...

    async def first_open(self, series: Series) -> datetime | None:
        """Return when the oldest stored bar opens."""
        ...

    async def symbols(self) -> Sequence[str]:
        """Return the symbols of which bars are stored; the list may be cut."""
        ...

    async def store(self, series: Series, bars: Bars, put_aside: PutAside, *, source: str) -> None:
        """Store good bars, in place of those of the same time, and what was put aside, in one transaction."""
        ...

    async def rebase(self, series: Series, bars: Bars, put_aside: PutAside, *, source: str) -> None:
        """Store what was fetched anew on another base and bring all other bars to that, in one transaction.

        See ``rebasing.rebased``; who does it once more changes nothing.

        Shape: at least one bar.
        """
        ...
