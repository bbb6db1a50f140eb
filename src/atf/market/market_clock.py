"""Market time: when bars are closed and schedules are due.

Normally it is the wall time. In a replay it is a row of the database that moves one session at a time, so that
fourteen years of daily bars pass through the same scheduler, worker and evaluator that run live. Leases,
back-off and time-outs never use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from atf.clock import Clock
from atf.market.bars import Timeframe


class MarketClock(Protocol):
    """Tells the market's time."""

    @property
    def is_replay(self) -> bool:
        """Whether time here is moved by a replay."""
        ...

    async def now(self) -> datetime:
        """Return the market's present instant, aware UTC."""
        ...

    async def step(self) -> bool:
        """Move a replay on by one session if all is done; return whether it moved. Live time never does."""
        ...

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        """Return the wall instant at which market time reaches ``instant``, None if only a step tells.

        ``now`` is the market's present instant as just read.
        """
        ...


class LiveMarketClock:
    """Market time is wall time."""

    is_replay = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def now(self) -> datetime:
        """Return the wall time."""
        return self._clock.now()

    async def step(self) -> bool:
        """Return False: live time moves by itself."""
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:  # noqa: ARG002
        """Return the instant itself."""
        return instant


@dataclass(frozen=True, slots=True)
class ReplayPosition:
    """Where a replay stands."""

    timeframe: Timeframe
    begins_at: datetime
    now_at: datetime
    ends_at: datetime
    step: int

    @property
    def is_finished(self) -> bool:
        """Whether the last session has been reached."""
        return self.now_at >= self.ends_at


class ReplayPositionStore(Protocol):
    """The row that holds a replay's time."""

    async def position(self) -> ReplayPosition:
        """Return where the replay stands."""
        ...

    async def step(self) -> bool:
        """Move to the close of the next stored session, if nothing is due, pending or running."""
        ...


class ReplayMarketClock:
    """Market time is what the database's market_clock row says."""

    is_replay = True

    def __init__(self, store: ReplayPositionStore, wall: Clock) -> None:
        self._store = store
        self._wall = wall

    async def now(self) -> datetime:
        """Return the replay's present instant."""
        return (await self._store.position()).now_at

    async def step(self) -> bool:
        """Move on by one session if all runs of the last one are final; return whether it moved."""
        return await self._store.step()

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        """Return the wall's now if the instant has been reached, None if a step must come first."""
        return self._wall.now() if instant <= now else None
