"""A provider made of two: a stream that keeps the newest bars here, and one that answers questions."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from atf.errors import NotFound
from atf.market.bars import Bars, Series, Timeframe
from atf.market.forming import FormingBar
from atf.market.provider import BarProvider, FormingBarProvider, ProviderTraits
from atf.market.stream import BarRun, BarStream, BarUpdate

_MOST_SERIES: Final = 500
_SILENT_FOR: Final = timedelta(minutes=1)


class ClosableBarProvider(BarProvider, Protocol):
    """A provider that holds connections."""

    async def aclose(self) -> None:
        """Give them back."""
        ...


class StreamedBarProvider:
    """Answers from what was streamed where that is whole, and else asks the other provider.

    A series is followed once it has been asked for; of more than ``most_series`` the one that was not asked for
    longest is dropped. What is held counts as whole only if it has no hole, reaches up to the newest bar that
    should be closed, and the connection did not break since it was last compared with the other provider.
    """

    def __init__(
        self,
        asked: ClosableBarProvider,
        stream: BarStream,
        *,
        name: str = "binance-stream",
        most_series: int = _MOST_SERIES,
    ) -> None:
        self._asked = asked
        self._stream = stream
        self._name = name
        self._most_series = most_series
        self._runs: OrderedDict[Series, BarRun] = OrderedDict()
        self._interruptions = 0
        self._listening: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """What settings and messages call this provider."""
        return self._name

    @property
    def traits(self) -> ProviderTraits:
        """Those of the provider that is asked, as any question may reach it."""
        return self._asked.traits

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until`` and open at ``since`` or later.

        Errors: those of the provider that is asked; what is held is never a substitute for an answer.
        """
        self._listen()
        held = self._held(series, until, count, since)
        if held is not None:
            return held
        interruptions = self._interruptions
        fetched = await self._asked.closed_bars(series, until, count, since)
        known = self._follow(series).mend(
            fetched,
            is_all=since is None and len(fetched) < count,
            is_sure=interruptions == self._interruptions,
        )
        return known.closed_at(until, series.timeframe).since(since).last(count)

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        """Return what was streamed of the bar lately, else ask the other provider; the series is followed then.

        A market may be silent, and so may a broken connection: after a minute the other provider is asked.

        Errors: those of the provider that is asked; NotFound if that one cannot tell.
        """
        self._listen()
        update = self._follow(series).forming
        if update is not None and now - update.sent_at <= _SILENT_FOR:
            bar = Bars.from_rows([(update.open_time, *update.values)])
            streamed = FormingBar(bar, min(update.sent_at, now))
            if streamed.is_open_at(now, series.timeframe):
                return streamed
        if not isinstance(self._asked, FormingBarProvider):
            raise NotFound(f"{self._asked.name} has no bars that are still forming")
        return await self._asked.forming_bar(series, now)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Tell what the provider that is asked tells."""
        return await self._asked.knows(symbol, timeframe)

    async def symbols(self) -> Sequence[str]:
        """Return those of the provider that is asked."""
        return await self._asked.symbols()

    def streamed_update(self, series: Series) -> BarUpdate | None:
        """Return the newest state of the bar that is forming; None unless the series is followed and has one.

        Time: ``sent_at`` tells how old it is; it is dropped when the connection breaks.
        """
        run = self._runs.get(series)
        return None if run is None else run.forming

    def updated(self, update: BarUpdate) -> None:
        """Take a message of the stream; one of a series that is not followed is ignored."""
        run = self._runs.get(update.series)
        if run is not None:
            run.take(update)

    def interrupted(self) -> None:
        """Take note that the stream may have missed anything."""
        self._interruptions += 1
        for run in self._runs.values():
            run.interrupt()

    async def aclose(self) -> None:
        """End the stream and close the provider that is asked; no call may follow."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        await self._asked.aclose()

    def _listen(self) -> None:
        """Start the stream; raise its error if it ended by one, which only a programming error does."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._stream.run(self), name=f"stream of {self._name}")
        elif self._listening.done():
            self._listening.result()

    def _held(self, series: Series, until: datetime, count: int, since: datetime | None) -> Bars | None:
        run = self._runs.get(series)
        if run is None:
            return None
        self._runs.move_to_end(series)
        return run.answer(until, count, since)

    def _follow(self, series: Series) -> BarRun:
        """Return the run of a series; it is followed from now on."""
        if series not in self._runs:
            self._runs[series] = BarRun(series)
            self._stream.follow(series)
        self._runs.move_to_end(series)
        while len(self._runs) > self._most_series:
            dropped, _ = self._runs.popitem(last=False)
            self._stream.unfollow(dropped)
        return self._runs[series]
