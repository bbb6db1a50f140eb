"""TradingService: the runner under the contract of every service, with the bars and the lease that it needs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

from atf.errors import AtfError, DatabaseUnavailable
from atf.jobs.lease import Lease, LeaseLost
from atf.jobs.run import WorkerId
from atf.lifecycle import Progress, Service
from atf.services.trading.runner import TradingServiceRunner
from atf.trading.bar_feed import BarFeed

_LOGGER = logging.getLogger(__name__)
_LONG: Final = 60.0
_PAUSE_SECONDS: Final = 1.0


class News(Protocol):
    """Tells when something has changed."""

    async def start(self) -> None:
        """Begin to listen."""
        ...

    async def wait(self, seconds: float) -> bool:
        """Wait until something has changed, or so long; return whether it has."""
        ...

    async def stop(self) -> None:
        """Stop listening."""
        ...


class _TermOver(AtfError):
    """This service may not run its bots any more, until it has a lease again."""


class TradingService(Service):
    """Counts as started when recovery is over: each bot runs, or has failed.

    ``open_runner`` gets the name of the lease, by which this service owns its bots.
    """

    def __init__(
        self,
        lease: Lease,
        feed: BarFeed,
        progress: Progress,
        open_runner: Callable[[WorkerId], Awaitable[TradingServiceRunner]],
        news: News,
    ) -> None:
        super().__init__("trading")
        self._lease = lease
        self._feed = feed
        self._progress = progress
        self._open_runner = open_runner
        self._news = news

    async def _serve(self, started: Callable[[], None]) -> None:
        await self._news.start()
        try:
            while True:
                try:
                    await self._one_term(started)
                except _TermOver as exc:
                    # What was held may be another service's by now; what this one held is reconciled anew.
                    _LOGGER.error("all bots are let go, and taken up again when the database answers: %s", exc)
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            await self._news.stop()
            await self._lease.release()

    async def _one_term(self, started: Callable[[], None]) -> None:
        """Run the bots as long as the lease lives. Errors: _TermOver; what a stop that was asked for met."""
        try:
            runner = await self._open_runner(await self._lease.acquire())
        except DatabaseUnavailable as exc:
            raise _TermOver(str(exc)) from exc
        chores = [
            asyncio.create_task(self._feed.run(self._progress.mark)),
            asyncio.create_task(self._pass_on_news(runner)),
        ]
        try:
            await self._lease.guard(asyncio.create_task(self._trade(runner, chores, started)))
        except (LeaseLost, DatabaseUnavailable) as exc:
            await runner.strategy_manager.abandon()
            raise _TermOver(str(exc)) from exc
        except asyncio.CancelledError:
            await runner.stop_service()
            raise
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)

    async def _trade(
        self, runner: TradingServiceRunner, chores: Collection[asyncio.Task[None]], started: Callable[[], None]
    ) -> None:
        await runner.start_service()
        started()
        ended, _ = await asyncio.wait(chores, return_when=asyncio.FIRST_COMPLETED)
        for chore in ended:  # none ends by itself
            chore.result()

    async def _pass_on_news(self, runner: TradingServiceRunner) -> None:
        while True:
            if await self._news.wait(_LONG):
                self._feed.wake()
                runner.strategy_manager.wake()
