"""BarMemory: the newest bars of the series that were asked for lately, so that warm answers need no database.

It holds what was checked and stored, and beside it what only a fallback had; when either may be used is the
DataManager's to decide.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime

from atf.market.bars import Bars, Series


@dataclass(slots=True)
class Held:
    """What is remembered of one series.

    ``bars`` come from the store and from the series' own provider; ``borrowed`` are newer ones that a fallback
    gave while that provider did not answer: they are used, and never stored. ``is_whole``: there is nothing
    older. ``tried_until`` and ``tried_at``: the market time and the second of the process's clock at which
    providers were asked last; ``tried_count``: the most bars that they were asked for; ``trouble``: why the
    series' own provider did not answer then; ``absent``: why nobody can have it.

    Time: ``loaded_at`` and ``tried_at`` are monotonic seconds.
    """

    loaded_at: float
    loaded_count: int
    bars: Bars = field(default_factory=Bars.empty)
    borrowed: Bars = field(default_factory=Bars.empty)
    is_whole: bool = False
    tried_until: datetime | None = None
    tried_at: float = 0.0
    tried_count: int = 0
    trouble: str | None = None
    absent: str | None = None
    _count: int = field(init=False, default=0)
    _newest: datetime | None = field(init=False, default=None)
    _answer: tuple[int, datetime | None, Bars] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.replace(self.bars, self.borrowed)

    def __len__(self) -> int:
        return self._count

    def newest_open(self) -> datetime | None:
        """Return when the newest bar opens."""
        return self._newest

    def has(self, count: int) -> bool:
        """Whether so many bars are held, or all there are."""
        return self.is_whole or self._count >= count

    def answer(self, count: int, newest_closed: datetime) -> Bars:
        """Return the newest bars that open at ``newest_closed`` or earlier.

        The last answer is kept, until there are other bars: hundreds of series are asked for again with nothing
        changed but the time.
        """
        cut = newest_closed if self._newest is not None and self._newest > newest_closed else None
        if self._answer is not None and self._answer[0] == count and self._answer[1] == cut:
            return self._answer[2]
        bars = self.bars.followed_by(self.borrowed)
        answer = (bars if cut is None else bars[: bars.first_after(cut)]).last(count)
        self._answer = (count, cut, answer)
        return answer

    def replace(self, bars: Bars, borrowed: Bars | None = None) -> None:
        """Hold these bars from now on."""
        self.bars, self.borrowed = bars, Bars.empty() if borrowed is None else borrowed
        self._count = len(self.bars) + len(self.borrowed)
        newest = self.borrowed if len(self.borrowed) else self.bars
        self._newest = newest.time_at(len(newest) - 1) if len(newest) else None
        self._answer = None


class BarMemory:
    """Remembers series, the least recently used dropped first when there are too many bars."""

    def __init__(self, most_bars: int) -> None:
        self._most = most_bars
        self._held: OrderedDict[Series, Held] = OrderedDict()
        self._sizes: dict[Series, int] = {}
        self._bars = 0

    def get(self, series: Series) -> Held | None:
        """Return what is held of a series."""
        held = self._held.get(series)
        if held is not None:
            self._held.move_to_end(series)
        return held

    def put(self, series: Series, held: Held) -> None:
        """Remember a series, or that it holds another number of bars than it did."""
        self._held[series] = held
        self._held.move_to_end(series)
        self._bars += len(held) - self._sizes.get(series, 0)
        self._sizes[series] = len(held)
        while self._bars > self._most and len(self._held) > 1:
            oldest, _ = self._held.popitem(last=False)
            self._bars -= self._sizes.pop(oldest)
