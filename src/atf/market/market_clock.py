"""Market time: when bars are closed and schedules are due.

Normally it is the wall time. In a replay it is a row of the database that moves one session at a time, so that
fourteen years of daily bars pass through the same scheduler, worker and evaluator that run live; or that row
says how many times as fast as the wall it runs. Leases, back-off and time-outs never use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Final, Protocol

from atf.clock import Clock
from atf.errors import ConfigurationError
from atf.market.bars import Timeframe

_MICROSECOND: Final = timedelta(microseconds=1)


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
class Pace:
    """How a replay moves by itself: ``speed`` times as fast as the wall, since the wall's ``started_at``.

    Whole microseconds and exact fractions: at the wall instant at which an instant is reached, it is reached.
    """

    begins_at: datetime
    ends_at: datetime
    started_at: datetime
    speed: float

    def market_at(self, wall: datetime) -> datetime:
        """Return market time at a wall instant; never before the begin and never past the end."""
        passed = floor((wall - self.started_at) // _MICROSECOND * Fraction(self.speed))
        whole = (self.ends_at - self.begins_at) // _MICROSECOND
        return self.begins_at + timedelta(microseconds=max(0, min(passed, whole)))

    def wall_at(self, market: datetime, wall: datetime) -> datetime | None:
        """Return the wall instant at which market time reaches an instant, None if it never does.

        What is more than a day ahead of ``wall`` counts as a day ahead, as years of market time at a low speed
        may lie beyond the last date that there is.
        """
        if market > self.ends_at:
            return None
        takes = ceil((market - self.begins_at) // _MICROSECOND / Fraction(self.speed))
        soon = (wall - self.started_at + timedelta(days=1)) // _MICROSECOND
        return self.started_at + timedelta(microseconds=max(0, min(takes, soon)))


@dataclass(frozen=True, slots=True)
class ReplayPosition:
    """Where a replay in steps stands; one with a ``pace`` moves by itself, and ``now_at`` stays at its begin."""

    timeframe: Timeframe
    begins_at: datetime
    now_at: datetime
    ends_at: datetime
    step: int
    pace: Pace | None = None

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


class PacedMarketClock:
    """Market time runs by itself between a replay's begin and end, as the database's market_clock row says.

    All processes compute it from the same row, so they agree as far as their walls do.
    """

    is_replay = True

    def __init__(self, store: ReplayPositionStore, wall: Clock, pace: Pace) -> None:
        self._store = store
        self._wall = wall
        self._pace = pace

    async def now(self) -> datetime:
        """Return the replay's present instant.

        Errors: ConfigurationError if this database's replay has no speed any more.
        """
        pace = (await self._store.position()).pace
        if pace is None:
            raise ConfigurationError("the replay's speed is gone: restart the services")
        self._pace = pace
        return pace.market_at(self._wall.now())

    async def step(self) -> bool:
        """Return False: it moves by itself."""
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:  # noqa: ARG002
        """Return when the wall reaches the instant, as of the last ``now()``; None beyond the replay's end."""
        return self._pace.wall_at(instant, self._wall.now())
