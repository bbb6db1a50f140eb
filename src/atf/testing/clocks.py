"""Clocks that stand where a test puts them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass
class FakeClock:
    """Wall time that moves only when it is told to."""

    at: datetime

    def now(self) -> datetime:
        """Return the instant at which it stands."""
        return self.at

    def advance(self, by: timedelta) -> None:
        """Move on."""
        self.at += by


@dataclass
class FakeMarketClock:
    """Market time that moves only when it is told to, live or as a replay."""

    at: datetime
    is_replay: bool = False

    async def now(self) -> datetime:
        """Return the instant at which it stands."""
        return self.at

    async def step(self) -> bool:
        """Return False: a test moves it itself."""
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        """Return the instant once it has been reached."""
        return instant if instant <= now else None
