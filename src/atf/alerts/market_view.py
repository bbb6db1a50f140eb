"""What a batch sees of its markets at one instant: closed bars, and what calendars and live alerts need besides.

A batch in which nobody watches by a calendar or live asks for closed bars and for nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from atf.alerts.watched import Watched
from atf.errors import InvalidInput
from atf.market.bars import Bars, Series
from atf.market.closing import Closing, EndedBar
from atf.market.data_manager import DataManager
from atf.market.fetched_bars import FetchedBars
from atf.market.forming_bars import FetchedForming
from atf.market.resampling import opening_time

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MarketView:
    """The bars of a batch.

    ``closings`` are there for what is watched with a calendar, ``refused`` tells of calendars that there are not.
    ``ended`` are bars that only their session has closed. ``forming`` are bars that may be looked at: they stand
    behind the closed ones without a hole. ``awaited`` are bars that are due and not published.
    """

    now: datetime
    closed: FetchedBars
    closings: Mapping[Watched, Closing] = field(default_factory=dict)
    refused: Mapping[Watched, InvalidInput] = field(default_factory=dict)
    ended: Mapping[Watched, Bars] = field(default_factory=dict)
    forming: Mapping[Watched, Bars] = field(default_factory=dict)
    awaited: Mapping[Watched, EndedBar] = field(default_factory=dict)

    def bars(self, watched: Watched) -> Bars:
        """Return the closed bars of what is watched. Errors: KeyError if they could not be had."""
        bars = self.closed.ready[watched.series]
        ended = self.ended.get(watched)
        return bars if ended is None else bars.followed_by(ended)

    def closing(self, watched: Watched) -> Closing:
        """Return when its bars close."""
        return self.closings.get(watched) or Closing(watched.series.timeframe)


async def look_at(
    data: DataManager,
    wanted: Mapping[Series, int],
    watched: Sequence[Watched],
    now: datetime,
    patience: timedelta,
) -> MarketView:
    """Return what is known of the series, and for what is watched also by calendars and while bars form.

    Shape:  ``wanted``: how many closed bars of each series.
    Time:   returns about ``patience`` later at the latest.
    Errors: as ``DataManager.closed_bars_of``.
    """
    special = [one for one in watched if one.is_live or one.calendar is not None]
    if not special:
        closed = await data.closed_bars_of(wanted, until=now, within=patience)
        return MarketView(now, closed, awaited=_awaited_by_clock(closed, watched, now))
    return await _Look(data, now, patience).view(wanted, watched, special)


class _Look:
    """One look at the markets of a batch in which somebody watches more than what the clock has closed."""

    def __init__(self, data: DataManager, now: datetime, patience: timedelta) -> None:
        self._data = data
        self._now = now
        self._patience = patience
        self._ends_at = asyncio.get_running_loop().time() + patience.total_seconds()

    async def view(
        self, wanted: Mapping[Series, int], watched: Sequence[Watched], special: Sequence[Watched]
    ) -> MarketView:
        closings, refused = await self._closings(special)
        dues = {one: due for one, each in closings.items() if (due := each.newest_ended(self._now)) is not None}
        closed, ended, forming = await asyncio.gather(
            self._data.closed_bars_of(wanted, until=self._now, within=self._patience),
            self._ended(dues),
            self._forming(special),
        )
        apart = await self._on_other_base(closed, ended, forming)
        ended = {one: bars[:0] if one.series in apart else bars for one, bars in ended.items()}
        by_clock = [one for one in watched if one not in closings or not closings[one].follows_sessions]
        found = MarketView(
            self._now,
            closed,
            closings,
            refused,
            {one: bars for one, bars in ended.items() if self._fits(one, bars, closed)},
            awaited=_awaited_by_clock(closed, by_clock, self._now)
            | {one: due for one, due in dues.items() if self._is_awaited(one, due, closed, ended)},
        )
        own = {one: bars for one in special if (bars := self._own_forming(one, found, forming)) is not None}
        own = {one: bars for one, bars in own.items() if one.series not in apart}
        return replace(found, forming=own)

    async def _closings(
        self, special: Sequence[Watched]
    ) -> tuple[dict[Watched, Closing], dict[Watched, InvalidInput]]:
        found: dict[Watched, Closing] = {}
        refused: dict[Watched, InvalidInput] = {}
        for one in special:
            try:
                if one.calendar is not None:
                    found[one] = await self._data.closing(one.series.timeframe, one.calendar)
            except InvalidInput as exc:
                refused[one] = exc
        return found, refused

    async def _ended(self, dues: Mapping[Watched, EndedBar]) -> dict[Watched, Bars]:
        """Return the bars that are over by their sessions and not yet by the clock; empty ones are awaited."""
        by_calendar: dict[str | None, dict[Watched, EndedBar]] = {}
        for one, due in dues.items():
            if due.opens_at + one.series.timeframe.length > self._now:
                by_calendar.setdefault(one.calendar, {})[one] = due
        found: dict[Watched, Bars] = {}
        for group in by_calendar.values():
            wanted = {one.series: due for one, due in group.items()}
            fetched = await self._data.ended_bars_of(wanted, now=self._now, within=self._patience)
            found |= {
                one: fetched.ready[one.series]
                for one in group
                if len(fetched.ready[one.series]) or one.series in fetched.awaited
            }
        return found

    async def _forming(self, special: Sequence[Watched]) -> FetchedForming:
        live = {one.series for one in special if one.is_live}
        if not live:
            return FetchedForming()
        found = await self._data.forming_bars_of(live, now=self._now, within=self._patience)
        for series, reason in sorted(found.absent.items()):
            _LOGGER.info("No forming bar of %s: %s", series, reason)
        return found

    async def _on_other_base(
        self, closed: FetchedBars, ended: Mapping[Watched, Bars], forming: FetchedForming
    ) -> frozenset[Series]:
        """Return the series of which nothing unclosed can be looked at now, as a split lies before it."""
        unclosed = {series: found.bar for series, found in forming.ready.items()}
        unclosed |= {one.series: bars for one, bars in ended.items() if len(bars)}
        seen = {series: (closed.ready[series], bar) for series, bar in unclosed.items() if series in closed.ready}
        left = max(0.0, self._ends_at - asyncio.get_running_loop().time())
        return await self._data.on_other_base(seen, now=self._now, within=timedelta(seconds=left))

    def _fits(self, one: Watched, bars: Bars, closed: FetchedBars) -> bool:
        """Whether a bar may stand behind the closed ones: after them, without a hole that may still be filled."""
        before = closed.ready.get(one.series)
        if before is None or not len(bars) or self._has_hole(one.series, closed):
            return False
        return not len(before) or bars.time_at(0) > before.time_at(len(before) - 1)

    def _has_hole(self, series: Series, closed: FetchedBars) -> bool:
        """Whether the newest bar that is due by the clock is missing, and not given up yet."""
        if series in closed.stale:
            return True
        late = self._now - opening_time(self._now, series.timeframe)
        return series in closed.awaited and late < series.timeframe.length / 2

    def _is_awaited(
        self, one: Watched, due: EndedBar, closed: FetchedBars, ended: Mapping[Watched, Bars]
    ) -> bool:
        bars = closed.ready.get(one.series)
        if bars is None:
            return False
        bars = bars.followed_by(ended.get(one, bars[:0]))
        has_due = len(bars) and bars.time_at(len(bars) - 1) >= due.opens_at
        may_come = one.series in closed.awaited or one in ended
        return may_come and not has_due

    def _own_forming(self, one: Watched, view: MarketView, forming: FetchedForming) -> Bars | None:
        """Return the forming bar as it may be looked at; one whose session is over is forming no more."""
        found = forming.ready.get(one.series)
        if not one.is_live or found is None or one.series not in view.closed.ready or one in view.refused:
            return None
        opens_at = found.bar.time_at(0)
        if view.closing(one).at(opens_at) <= self._now or not self._fits(one, found.bar, view.closed):
            return None
        return found.bar


def _awaited_by_clock(closed: FetchedBars, watched: Sequence[Watched], now: datetime) -> dict[Watched, EndedBar]:
    if not closed.awaited:
        return {}
    return {one: _due_by_clock(one.series, now) for one in watched if one.series in closed.awaited}


def _due_by_clock(series: Series, now: datetime) -> EndedBar:
    closed_at = opening_time(now, series.timeframe)
    return EndedBar(closed_at - series.timeframe.length, closed_at)
