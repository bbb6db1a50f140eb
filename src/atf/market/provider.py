"""What sources of bars and of fundamentals promise, and what must be known about each before it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from atf.market.bars import Bars, Series, Timeframe
from atf.market.forming import FormingBar
from atf.market.fundamentals import Fundamentals


@dataclass(frozen=True, slots=True)
class ProviderTraits:
    """How a provider wants to be asked.

    ``is_local``: asking costs nothing and the source is the user's own, so that its answers are neither stored
    nor remembered. ``calls_at_once`` and ``calls_per_minute`` bound what it is asked (None: no bound of ours).
    ``timeout``: after so long a call is given up. ``settle``: how long after its close a bar is usually there.
    """

    is_local: bool = False
    calls_at_once: int = 16
    calls_per_minute: float | None = None
    timeout: timedelta = timedelta(seconds=20)
    settle: timedelta = timedelta(seconds=2)


class BarProvider(Protocol):
    """A source of bars: files, a database, an exchange.

    Foreign exceptions are converted to ``atf.errors``, and a cancelled call ends at once. A provider has a clock
    of its own: it gives a bar only when that clock, too, says that the bar is closed.
    """

    @property
    def name(self) -> str:
        """What settings and messages call this provider."""
        ...

    @property
    def traits(self) -> ProviderTraits:
        """How it wants to be asked."""
        ...

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until``, or all if there are fewer.

        ``since``: bars that open before it are not wanted; the provider need not read or fetch them.

        Time:   oldest first, equal times once, as ``Bars`` are.
        Errors: TemporaryFailure when it cannot answer now (``retry_after_seconds`` if the other side said it),
                NotFound when it does not know the series.
        """
        ...

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Tell whether this provider has bars of the symbol; raise TemporaryFailure if it cannot tell now."""
        ...

    async def symbols(self) -> Sequence[str]:
        """Return symbols that it knows, for messages to people; the list may be cut."""
        ...


@runtime_checkable
class FormingBarProvider(Protocol):
    """A source of bars that can also tell of the one that is forming; whoever has no such method cannot."""

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        """Return the bar that ``now`` lies within as it is at present, None if nothing was traded in it yet.

        A provider has a clock of its own: it gives a bar only when that clock, too, says that it is forming.

        Time:   ``seen_at`` is when the newest trade could have been that is in it.
        Errors: as ``BarProvider.closed_bars``; NotFound also if it has no forming bars of this series.
        """
        ...


class FundamentalsProvider(Protocol):
    """A source of what is known of companies now. Foreign exceptions are converted to ``atf.errors``."""

    @property
    def name(self) -> str:
        """What settings and messages call this provider."""
        ...

    async def fundamentals(self, symbol: str) -> Fundamentals:
        """Return what the provider knows of a canonical symbol at present.

        Units:  as ``Fundamentals`` has them, whatever the provider's own are; what it does not say is None.
        Time:   ``as_of`` is the day, in UTC, on which it was asked by the clock of the process.
        Errors: TemporaryFailure when it cannot answer now (``retry_after_seconds`` if the other side said it),
                NotFound when it does not know the symbol or has nothing about it.
        """
        ...
