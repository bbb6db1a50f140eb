"""A market as a file gives it: bars and time that stand where they are put, for replaying cases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from atf.market.bars import Bars, Series, Timeframe
from atf.market.forming import FormingBar, newest_open_bar
from atf.market.provider import ProviderTraits


class GivenClock:
    """Market time that stands where the case puts it."""

    is_replay = False

    def __init__(self, at: datetime) -> None:
        self.at = at

    async def now(self) -> datetime:
        """Return the instant at which it stands."""
        return self.at

    async def step(self) -> bool:
        """Return False: the case moves it."""
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        """Return the instant once it has been reached."""
        return instant if instant <= now else None


class GivenBars:
    """A provider of one case's bars, whatever symbol and timeframe it is asked for.

    It gives all of them, those that are still forming too: keeping these out is for the code that is tested.
    With a ``barrier`` nobody has an answer before all who load the same state have asked, as an evaluator asks
    for bars between loading and committing.
    """

    name = "case"
    traits = ProviderTraits(is_local=True, settle=timedelta(0))

    def __init__(self) -> None:
        self.bars = Bars.empty()
        self.barrier: asyncio.Barrier | None = None

    async def closed_bars(
        self,
        series: Series,  # noqa: ARG002
        until: datetime,  # noqa: ARG002
        count: int,  # noqa: ARG002
        since: datetime | None = None,
    ) -> Bars:
        """Return what has been fed."""
        if self.barrier is not None:
            await self.barrier.wait()
        return self.bars.since(since)

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        """Return the bar that has been fed of the time that ``now`` lies in."""
        return newest_open_bar(self.bars, series.timeframe, now, now)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:  # noqa: ARG002
        """Return True: a case may watch anything."""
        return True

    async def symbols(self) -> Sequence[str]:
        """Return nothing, as everything is known."""
        return ()
