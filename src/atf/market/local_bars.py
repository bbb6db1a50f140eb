"""Bars from providers that cost nothing to ask, such as files: asked every time, within the caller's patience."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from atf.errors import AtfError, NotFound, TemporaryFailure
from atf.market.bars import Series
from atf.market.fetched_bars import Absent, Answer, Outcome
from atf.market.provider_lane import ProviderLane
from atf.market.stragglers import Fetch, late_of

Chains = Mapping[Series, Sequence[ProviderLane]]


async def local_bars(
    chains: Chains, wanted: Mapping[Series, int], until: datetime, deadline: float
) -> dict[Series, Outcome]:
    """Ask local providers in order; what is not ready at the deadline (of the event loop) is late.

    A few that take much longer than the others are late sooner.

    Errors: a provider's programming error ends the whole call.
    """
    now = asyncio.get_running_loop().time()
    fetches = {
        series: Fetch(
            asyncio.create_task(_ask(lanes, series, until, wanted[series]), name=f"bars of {series}"), now
        )
        for series, lanes in chains.items()
        if lanes
    }
    try:
        late = await late_of(fetches, len(fetches), deadline)
    finally:
        for fetch in fetches.values():
            fetch.task.cancel()
        # Also takes the exceptions out of all tasks, as a task that keeps one complains when it is collected.
        await asyncio.gather(*(fetch.task for fetch in fetches.values()), return_exceptions=True)
    return {
        series: Absent("not ready in time", may_come=True) if series in late else fetch.task.result()
        for series, fetch in fetches.items()
    }


async def _ask(lanes: Sequence[ProviderLane], series: Series, until: datetime, count: int) -> Outcome:
    outcome = Absent("no provider of bars is configured", may_come=False)
    for lane in lanes:
        try:
            bars = await lane.closed_bars(series, until, count)
        except NotFound as exc:
            outcome = Absent(str(exc), may_come=outcome.may_come)
        except TemporaryFailure as exc:
            outcome = Absent(str(exc), may_come=True)
        except AtfError as exc:
            # Something of the user's is broken, such as a file: the next provider must not hide it.
            return Absent(str(exc), outcome.may_come, is_broken=True)
        else:
            # Checked again here, as one provider that hands out a forming bar would fire alerts on it.
            return Answer(bars.closed_at(until, series.timeframe).last(count))
    return outcome
