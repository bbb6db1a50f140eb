"""Bars from providers that cost nothing to ask, such as files: asked every time, within the caller's patience."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from atf.errors import AtfError, NotFound, TemporaryFailure
from atf.market.bars import Series
from atf.market.fetched_bars import Absent, Answer, Outcome
from atf.market.provider_lane import ProviderLane

Chains = Mapping[Series, Sequence[ProviderLane]]


async def local_bars(
    chains: Chains, wanted: Mapping[Series, int], until: datetime, deadline: float
) -> dict[Series, Outcome]:
    """Ask local providers in order; what is not ready at the deadline (of the event loop) is late.

    Errors: a provider's programming error ends the whole call.
    """
    tasks = {
        series: asyncio.create_task(_ask(lanes, series, until, wanted[series]), name=f"bars of {series}")
        for series, lanes in chains.items()
        if lanes
    }
    if not tasks:
        return {}
    await _finish(tasks.values(), deadline)
    return {
        series: Absent("not ready in time", may_come=True) if task.cancelled() else task.result()
        for series, task in tasks.items()
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


async def _finish(tasks: Iterable[asyncio.Task[Outcome]], deadline: float) -> None:
    """Let the tasks run until the deadline, then cancel the rest and wait until they are gone."""
    everything = list(tasks)
    try:
        patience = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.wait(everything, timeout=patience, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in everything:
            task.cancel()
        # Also takes the exceptions out of all tasks, as a task that keeps one complains when it is collected.
        await asyncio.gather(*everything, return_exceptions=True)
