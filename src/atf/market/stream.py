"""Bars as they happen: what a stream of them promises, and the run of newest bars that is made of it. Pure.

A stream may lose, repeat, disorder and mislabel what it sends. A run believes it only where a bar follows the one
before without a hole; all else is left to a provider that answers questions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from atf.market.bars import Bars, Series, Timeframe
from atf.market.holes import has_hole_since
from atf.market.resampling import opening_time

_MOST_BARS: Final = 2_000


@dataclass(frozen=True, slots=True)
class BarUpdate:
    """One message about one bar.

    Units: ``values`` are open, high, low, close, volume, as ``bars.COLUMNS``.
    Time:  ``sent_at`` is the sender's clock; ``is_closed`` is what the sender says, to be believed from
           ``closes_at`` on.
    """

    series: Series
    open_time: datetime
    values: tuple[float, float, float, float, float]
    is_closed: bool
    sent_at: datetime

    @property
    def closes_at(self) -> datetime:
        """When the bar closes."""
        return self.open_time + self.series.timeframe.length


class StreamListener(Protocol):
    """Who is told what a stream has; both calls return at once."""

    def updated(self, update: BarUpdate) -> None:
        """Take one message."""
        ...

    def interrupted(self) -> None:
        """Take note that anything may have been missed."""
        ...


class BarStream(Protocol):
    """A source that sends bars of the series that are followed."""

    def follow(self, series: Series) -> None:
        """Ask for a series, also after each reconnection; asking twice is asking once."""
        ...

    def unfollow(self, series: Series) -> None:
        """Ask for a series no more."""
        ...

    async def run(self, listener: StreamListener) -> None:
        """Connect, tell the listener, and connect again when that breaks; ends only by cancellation."""
        ...


class Taken(StrEnum):
    """What became of a message."""

    APPENDED = "appended"
    FORMING = "forming"
    IGNORED = "ignored"
    SKIPPED = "skipped"
    """A bar before it is missing: it cannot be appended."""


class BarRun:
    """The newest closed bars of one series, and the one that is forming.

    What a provider answered is taken as the truth, holes included; a streamed bar is appended if it opens where
    the last one closes. So a bar that the stream lost shows: the run does not reach up to the newest bar due.
    """

    def __init__(self, series: Series, most: int = _MOST_BARS) -> None:
        self._series = series
        self._most = most
        self._begins_history = False
        self._is_sure = False
        self.bars = Bars.empty()
        self.forming: BarUpdate | None = None

    def take(self, update: BarUpdate) -> Taken:
        """Take a message of the stream.

        Ignored are bars that are held already, whatever their values, older ones, those that open in the sender's
        future or between two bars of the timeframe, and forming states older than the one that is held.
        """
        if not self._is_possible(update) or (len(self.bars) and update.open_time <= self.bars.time_at(-1)):
            return Taken.IGNORED
        if update.is_closed and update.closes_at <= update.sent_at:
            return self._append(update)
        if self.forming is not None and _order(update) < _order(self.forming):
            return Taken.IGNORED
        self.forming = replace(update, is_closed=False)
        return Taken.FORMING

    def interrupt(self) -> None:
        """Take note that the stream may have missed anything: the next answer must come from the provider."""
        self._is_sure = False
        self.forming = None

    def mend(self, fetched: Bars, *, is_all: bool, is_sure: bool) -> Bars:
        """Take what a provider answered, which counts for more than what was streamed; return all that is known.

        ``is_all``: there is nothing older than this. ``is_sure``: the stream was not interrupted meanwhile. Bars
        of long ago, with a hole up to what is held, are returned alone and not kept.
        """
        if not len(fetched):
            return self.bars
        held, length = self.bars, self._series.timeframe.length
        if len(held) and fetched.time_at(-1) + length < held.time_at(0):
            return fetched
        is_apart = len(held) and held.time_at(-1) + length < fetched.time_at(0)
        older = Bars.empty() if is_apart else held.before(fetched.time_at(0))
        newer = held[held.first_after(fetched.time_at(-1)) :]
        known = older.followed_by(fetched).followed_by(newer)
        self._begins_history = self._begins_history if len(older) else is_all
        self._is_sure = self._is_sure or (is_sure and not len(newer))
        self._keep(known)
        return known

    def answer(self, until: datetime, count: int, since: datetime | None) -> Bars | None:
        """Return what a provider would answer; None if the run does not reach up or back far enough.

        None also to who asks from before a hole on: a bar that the provider did not have may be there now.
        """
        if not self._is_sure or not len(self.bars):
            return None
        if self.bars.time_at(-1) < _newest_due(until, self._series.timeframe):
            return None
        closed = self.bars.closed_at(until, self._series.timeframe)
        reaches_since = since is not None and self.bars.time_at(0) <= since
        if len(closed) < count and not self._begins_history and not reaches_since:
            return None
        if since is not None and has_hole_since(closed, self._series.timeframe, since):
            return None
        return closed.since(since).last(count)

    def _is_possible(self, update: BarUpdate) -> bool:
        return update.open_time <= update.sent_at and update.open_time == opening_time(
            update.open_time, self._series.timeframe
        )

    def _append(self, update: BarUpdate) -> Taken:
        if self.forming is not None and self.forming.open_time <= update.open_time:
            self.forming = None
        if not len(self.bars) or update.open_time != self.bars.time_at(-1) + self._series.timeframe.length:
            return Taken.SKIPPED
        self._keep(self.bars.followed_by(Bars.from_rows([(update.open_time, *update.values)])))
        return Taken.APPENDED

    def _keep(self, bars: Bars) -> None:
        self._begins_history = self._begins_history and len(bars) <= self._most
        self.bars = bars.last(self._most)
        if self.forming is not None and self.forming.open_time <= self.bars.time_at(-1):
            self.forming = None


def _order(update: BarUpdate) -> tuple[datetime, datetime]:
    return update.open_time, update.sent_at


def _newest_due(until: datetime, timeframe: Timeframe) -> datetime:
    """Return when the newest bar opens that should be closed at an instant."""
    return opening_time(until, timeframe) - timeframe.length
