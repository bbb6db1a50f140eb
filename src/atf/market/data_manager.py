"""DataManager: closed bars from a chain of providers, for many series at once, within a given patience.

Also the Protocol that providers implement. No SQL, no files and no network here: those are adapters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Final, Protocol

from atf.errors import AtfError, InvalidInput, NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe

_SHOWN_SYMBOLS: Final = 10


class BarProvider(Protocol):
    """A source of bars: files, a database, an exchange.

    Foreign exceptions are converted to ``atf.errors``, and a cancelled call ends at once: the DataManager
    cancels what is not ready in time and waits for that to happen.
    """

    @property
    def name(self) -> str:
        """What settings and messages call this provider."""
        ...

    async def closed_bars(self, series: Series, until: datetime, count: int) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until``, or all if there are fewer.

        Time:   oldest first.
        Errors: TemporaryFailure when it cannot answer now, NotFound when it does not know the series.
        """
        ...

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Tell whether this provider has bars of the symbol; raise TemporaryFailure if it cannot tell now."""
        ...

    async def symbols(self) -> Sequence[str]:
        """Return symbols that it knows, for messages to people; the list may be cut."""
        ...


@dataclass(frozen=True, slots=True)
class FetchedBars:
    """What came of the series that were wanted; each is in exactly one of the three.

    ``ready``: bars, possibly none, all closed at the instant that was asked for.
    ``late``: ask again later; nothing within the patience, or one that may have them cannot answer now.
    ``unknown``: asking again does not help, with the reason for a person.
    """

    ready: dict[Series, Bars]
    late: frozenset[Series]
    unknown: dict[Series, str]


@dataclass(frozen=True, slots=True)
class _Absent:
    """Why a series has no bars, and whether a later try may have them."""

    reason: str
    may_come: bool


class DataManager:
    """Asks providers in order until one has the series; a slow series delays no other.

    Each provider has its own bound of calls at a time, so that one which hangs cannot use up the
    calls of the others.
    """

    def __init__(
        self,
        providers: Sequence[BarProvider],
        *,
        patience: timedelta = timedelta(seconds=2),
        calls_per_provider: int = 16,
    ) -> None:
        self._lanes = [(provider, asyncio.Semaphore(calls_per_provider)) for provider in providers]
        self._patience = patience

    async def closed_bars(
        self, wanted: Mapping[Series, int], *, until: datetime, within: timedelta | None = None
    ) -> FetchedBars:
        """Fetch the newest bars of each series, as many as wanted, that are closed at ``until``.

        Time:   returns at the latest after ``within`` (the manager's patience if not given).
        Errors: none for a series that cannot be had (see FetchedBars); a provider's programming error is
                raised and ends the whole call.
        """
        patience = self._patience if within is None else within
        tasks = {
            series: asyncio.create_task(self._fetch(series, until, count), name=f"bars of {series}")
            for series, count in wanted.items()
        }
        if tasks:
            await _finish(tasks.values(), patience)
        return _sorted_out({series: _outcome(task) for series, task in tasks.items()})

    async def require_known(self, symbol: str, timeframe: Timeframe, *, field: str) -> None:
        """Return if a provider has bars of the symbol at the timeframe.

        Errors: InvalidInput at ``field`` if none has, with what is known here; TemporaryFailure if none has
                and one could not tell.
        """
        if not await self._is_known(symbol, timeframe):
            raise InvalidInput(await self._why_unknown(symbol, timeframe), field=field)

    async def _fetch(self, series: Series, until: datetime, count: int) -> Bars | _Absent:
        reason, may_come = "no provider of bars is configured", False
        for provider, lane in self._lanes:
            try:
                async with lane:
                    bars = await provider.closed_bars(series, until, count)
            except NotFound as exc:
                reason = str(exc)
            except TemporaryFailure as exc:
                reason, may_come = str(exc), True
            except AtfError as exc:
                # Something of the user's is broken, such as a file: the next provider must not hide it.
                return _Absent(str(exc), may_come)
            else:
                # Checked again here, as one provider that hands out a forming bar would fire alerts on it.
                return bars.closed_at(until, series.timeframe).last(count)
        return _Absent(reason, may_come)

    async def _why_unknown(self, symbol: str, timeframe: Timeframe) -> str:
        elsewhere = [str(other) for other in Timeframe if await self._is_known(symbol, other)]
        if elsewhere:
            return f"ticker {symbol!r} has no bars at {timeframe} here; it has {', '.join(elsewhere)}"
        known = await self._symbols()
        near = get_close_matches(symbol.upper(), known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"unknown ticker {symbol!r} at {timeframe}{hint}; known here: {_listing(known)}"

    async def _is_known(self, symbol: str, timeframe: Timeframe) -> bool:
        silent: list[str] = []
        for provider, lane in self._lanes:
            try:
                async with asyncio.timeout(self._patience.total_seconds()), lane:
                    if await provider.knows(symbol, timeframe):
                        return True
            except (TemporaryFailure, TimeoutError):
                silent.append(provider.name)
        if silent:
            raise TemporaryFailure(f"cannot check ticker {symbol!r} now: no answer from {', '.join(silent)}")
        return False

    async def _symbols(self) -> list[str]:
        known: set[str] = set()
        for provider, lane in self._lanes:
            try:
                async with asyncio.timeout(self._patience.total_seconds()), lane:
                    known.update(await provider.symbols())
            except (TemporaryFailure, TimeoutError):
                continue
        return sorted(known)


async def _finish(tasks: Iterable[asyncio.Task[Bars | _Absent]], patience: timedelta) -> None:
    """Let the tasks run as long as patience lasts, then cancel the rest and wait until they are gone."""
    everything = list(tasks)
    try:
        await asyncio.wait(everything, timeout=patience.total_seconds(), return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in everything:
            task.cancel()
        # Also takes the exceptions out of all tasks, as a task that keeps one complains when it is collected.
        await asyncio.gather(*everything, return_exceptions=True)


def _outcome(task: asyncio.Task[Bars | _Absent]) -> Bars | _Absent:
    """Return what a finished task came to; raise its programming error."""
    return _Absent("not ready in time", may_come=True) if task.cancelled() else task.result()


def _sorted_out(outcomes: Mapping[Series, Bars | _Absent]) -> FetchedBars:
    absent = {series: each for series, each in outcomes.items() if isinstance(each, _Absent)}
    return FetchedBars(
        ready={series: each for series, each in outcomes.items() if isinstance(each, Bars)},
        late=frozenset(series for series, each in absent.items() if each.may_come),
        unknown={series: each.reason for series, each in absent.items() if not each.may_come},
    )


def _listing(symbols: Sequence[str]) -> str:
    """Return the first few symbols for a message."""
    cut = ", ..." if len(symbols) > _SHOWN_SYMBOLS else ""
    return (", ".join(symbols[:_SHOWN_SYMBOLS]) + cut) or "none"
