"""What the store of bars tells about itself: how much there is of each series, and what was put aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atf.market.bars import Series


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """How much is stored of a series, and when its first and its last bar open."""

    series: Series
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class QuarantinedBar:
    """A bar that was put aside, as it came, with the reason; None is a value that was missing."""

    open_time: datetime
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    reason: str
    source: str
    found_at: datetime
