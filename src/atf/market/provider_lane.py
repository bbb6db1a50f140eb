"""ProviderLane: one provider as it may be asked, with its bounds, its time-out and its circuit breaker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Final

from aiolimiter import AsyncLimiter

from atf.errors import NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.circuit_breaker import CircuitBreaker
from atf.market.forming import FormingBar
from atf.market.provider import BarProvider, FormingBarProvider

_BURST_SECONDS: Final = 5.0
"""A provider's minute is given out in pieces of this length, so that one batch does not use all of it."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """What is going on with a provider. ``paused_seconds``: not asked for so long, because of ``last_error``."""

    name: str
    is_local: bool
    calls: int
    failures: int
    paused_seconds: float
    last_error: str | None


class ProviderLane:
    """Passes calls to a provider, as many at a time and a minute as it allows.

    One that fails again and again is left alone for growing pauses; a local one is always asked, as that costs
    nothing and its owner may have mended it.
    """

    def __init__(
        self,
        provider: BarProvider,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.name = provider.name
        self.traits = provider.traits
        self._provider = provider
        self._slots = asyncio.Semaphore(provider.traits.calls_at_once)
        self._limiter = _limiter(provider.traits.calls_per_minute)
        self._breaker = CircuitBreaker()
        self._monotonic = monotonic
        self._spread = spread
        self._calls = 0

    @property
    def state(self) -> LaneState:
        """What is going on with the provider."""
        seen = self._breaker.state(self._monotonic())
        return LaneState(
            self.name, self.traits.is_local, self._calls, seen.failures, seen.closed_for, seen.last_error
        )

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Ask for bars as ``BarProvider.closed_bars`` does.

        Errors: the provider's; TemporaryFailure also when it takes too long or is being left alone.
        """
        async with self.asking():
            return await self._provider.closed_bars(series, until, count, since)

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        """Ask for the bar that is forming as ``FormingBarProvider.forming_bar`` does.

        Errors: as ``closed_bars``; NotFound if the provider has no forming bars at all.
        """
        provider = self._provider
        if not isinstance(provider, FormingBarProvider):
            raise NotFound(f"{self.name} has no bars that are still forming")
        async with self.asking():
            return await provider.forming_bar(series, now)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Ask whether it has bars of the symbol."""
        async with self.asking():
            return await self._provider.knows(symbol, timeframe)

    async def symbols(self) -> Sequence[str]:
        """Ask for symbols that it knows."""
        async with self.asking():
            return await self._provider.symbols()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Make one call of any other kind to the provider inside the block, within the same bounds.

        Errors: those of the block, which the circuit breaker hears of; TemporaryFailure also when it takes too
                long or the provider is being left alone.
        """
        if self.traits.is_local:
            async with self._slots:
                self._calls += 1
                yield
            return
        async with self._slots:
            if self._limiter is not None:
                await self._limiter.acquire()
            era = self._require_open()
            self._calls += 1
            try:
                async with asyncio.timeout(self.traits.timeout.total_seconds()):
                    yield
            except TimeoutError as exc:
                seconds = self.traits.timeout.total_seconds()
                error = TemporaryFailure(f"{self.name} did not answer in {seconds:g} s")
                self._failed(error, era)
                raise error from exc
            except TemporaryFailure as exc:
                self._failed(exc, era)
                raise
            except NotFound:
                self._breaker.succeeded(era)
                raise
            except BaseException:
                self._breaker.given_up(era)
                raise
            self._breaker.succeeded(era)

    def _require_open(self) -> int:
        """Return the era of the circuit breaker in which the call is made."""
        now = self._monotonic()
        if not self._breaker.may_ask(now):
            seen = self._breaker.state(now)
            pause = f"for {ceil(seen.closed_for)} s more" if seen.closed_for else "until a first try comes back"
            raise TemporaryFailure(
                f"{self.name} is left alone {pause}: {seen.last_error}",
                retry_after_seconds=seen.closed_for or 1.0,
            )
        return self._breaker.era

    def _failed(self, error: TemporaryFailure, era: int) -> None:
        self._breaker.failed(
            self._monotonic(), str(error), retry_after=error.retry_after_seconds, spread=self._spread(), era=era
        )


def _limiter(calls_per_minute: float | None) -> AsyncLimiter | None:
    if calls_per_minute is None:
        return None
    burst = max(1.0, calls_per_minute * _BURST_SECONDS / 60)
    return AsyncLimiter(burst, burst * 60 / calls_per_minute)
