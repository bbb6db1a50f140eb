"""FormingBars: the bar that is forming, of many series; one question to a provider serves all who ask meanwhile.

What is seen is remembered for a moment and never stored: these bars are not closed, and closed ones are not made
of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from atf.errors import AtfError, NotFound, TemporaryFailure
from atf.market.bars import Series
from atf.market.fetched_bars import Absent
from atf.market.forming import FormingBar
from atf.market.provider_lane import ProviderLane
from atf.market.quality import sort_out
from atf.market.resampling import opening_time
from atf.market.stragglers import Fetch, late_of

_LOGGER = logging.getLogger(__name__)
_MOST_SERIES: Final = 20_000
_PARTS_OF_A_TIMEFRAME: Final = 12
_PARTS_OF_THE_TTL: Final = 2
"""A sight is used for half of the time to live, so that who looks once in that time always sees a new one."""

Chains = Mapping[Series, Sequence[ProviderLane]]
Seen = FormingBar | Absent | None
"""A bar, why there is none to be had, or None where nothing was traded in it yet."""


@dataclass(frozen=True, slots=True)
class FetchedForming:
    """What is known of the bars that are forming; a series in neither has nothing traded in its bar yet.

    ``absent``: a sentence for a person why a bar cannot be had, now or ever.
    """

    ready: dict[Series, FormingBar] = field(default_factory=dict)
    absent: dict[Series, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Sight:
    """An answer; ``at`` is in seconds of the process's clock."""

    found: Seen
    asked_at: datetime
    at: float
    is_local: bool


class FormingBars:
    """Asks the first provider of a chain that knows a series, as its closed bars come from there, too."""

    def __init__(self, ttl: timedelta, monotonic: Callable[[], float]) -> None:
        self._ttl = ttl.total_seconds()
        self._monotonic = monotonic
        self._known: OrderedDict[Series, _Sight] = OrderedDict()
        self._under_way: dict[Series, Fetch] = {}

    async def close(self) -> None:
        """End all questions."""
        tasks = [question.task for question in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def seen(
        self, chains: Chains, wanted: Mapping[Series, datetime | None], now: datetime, deadline: float
    ) -> dict[Series, Seen]:
        """Return what is seen of each series by the deadline (of the event loop), sooner if few are missing.

        ``wanted``: an instant since which a provider must have been asked, None for lately.

        Errors: a provider's programming error.
        """
        open_series, late = set(wanted), set[Series]()
        begun_at = self._monotonic()
        while open_series:
            missing = [one for one in open_series if self._sight(one, wanted[one], now, begun_at) is None]
            joined = {series for series in missing if series in self._under_way}
            questions = {series: self._ask(series, chains[series], now) for series in missing}
            late |= await late_of(questions, len(wanted), deadline)
            open_series = joined - late
        seen: dict[Series, Seen] = {}
        for series, since in wanted.items():
            sight = self._sight(series, since, now, begun_at)
            seen[series] = Absent("not ready in time", may_come=True) if sight is None else sight.found
        return seen

    def _sight(self, series: Series, since: datetime | None, now: datetime, begun_at: float) -> _Sight | None:
        """Return what was seen if it may be used at an instant; a local provider is asked every time."""
        sight = self._known.get(series)
        if sight is None or (since is not None and sight.asked_at < since):
            return None
        if sight.is_local:
            return sight if sight.asked_at == now and sight.at >= begun_at else None
        if sight.asked_at == now:
            return sight
        age, timeframe = self._monotonic() - sight.at, series.timeframe
        most = min(self._ttl / _PARTS_OF_THE_TTL, timeframe.length.total_seconds() / _PARTS_OF_A_TIMEFRAME)
        is_of_this_bar = opening_time(sight.asked_at, timeframe) == opening_time(now, timeframe)
        return sight if is_of_this_bar and age < most else None

    def _ask(self, series: Series, lanes: Sequence[ProviderLane], now: datetime) -> Fetch:
        """Return the one question about the series that is under way, or begin it."""
        question = self._under_way.get(series)
        if question is None:
            task = asyncio.create_task(self._look(series, lanes, now), name=f"forming bar of {series}")
            question = self._under_way[series] = Fetch(task, asyncio.get_running_loop().time())
            task.add_done_callback(lambda done: self._landed(series, done))
        return question

    async def _look(self, series: Series, lanes: Sequence[ProviderLane], now: datetime) -> None:
        found, is_local = await _answer(series, lanes, now)
        self._known[series] = _Sight(found, now, self._monotonic(), is_local)
        self._known.move_to_end(series)
        if len(self._known) > _MOST_SERIES:
            self._known.popitem(last=False)

    def _landed(self, series: Series, task: asyncio.Task[None]) -> None:
        self._under_way.pop(series, None)
        if not task.cancelled() and task.exception() is not None:
            _LOGGER.debug("Asking for the forming bar of %s ended with %r", series, task.exception())


async def _answer(series: Series, lanes: Sequence[ProviderLane], now: datetime) -> tuple[Seen, bool]:
    """Return what the series' own provider says, and whether that is a local one.

    No other provider helps out: its prices are not those of the closed bars, and where the two meet there would
    be a jump that no market made.
    """
    found: Seen = Absent("no provider of bars is configured", may_come=False)
    is_local = False
    for lane in lanes:
        is_local = lane.traits.is_local
        try:
            bar = await lane.forming_bar(series, now)
            return (bar if bar is None or is_local else _checked(series, lane, bar)), is_local
        except NotFound as exc:
            found = Absent(str(exc), may_come=False)
            if await _is_known(series, lane):
                break
        except TemporaryFailure as exc:
            return Absent(str(exc), may_come=True), is_local
        except AtfError as exc:
            return Absent(str(exc), may_come=False), is_local
    return found, is_local


async def _is_known(series: Series, lane: ProviderLane) -> bool:
    try:
        return await lane.knows(series.symbol, series.timeframe)
    except AtfError:
        return True


def _checked(series: Series, lane: ProviderLane, found: FormingBar) -> Seen:
    """Return a bar that may be looked at, else why not."""
    sorted_bars = sort_out(found.bar, series.timeframe)
    if len(sorted_bars.good):
        return found
    return Absent(
        f"the forming bar of {series} from {lane.name} is not used: it {sorted_bars.reasons[0]}", may_come=True
    )
