"""How the whole installation stands, as the bot tells it: to users in words, to administrators with places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from atf.notifications.history import ChannelStatistics


@dataclass(frozen=True, slots=True)
class Instance:
    """A process of a service; ``is_stale``: it has not been heard of for too long."""

    service: str
    host: str
    pid: int
    version: str
    started_at: datetime
    unheard_for: timedelta
    is_stale: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a component said last; ``service``: whose it is, None of one whose process is gone."""

    system: str
    component: str
    status: str
    is_well: bool
    error: str | None
    service: str | None


@dataclass(frozen=True, slots=True)
class PlatformState:
    """All of it."""

    instances: Sequence[Instance]
    reports: Sequence[Report]
    channels: Sequence[ChannelStatistics]
    runs_waiting: int
    runs_running: int

    @property
    def is_well(self) -> bool:
        """Whether something runs, all of it is heard of and well, and no channel is out of order."""
        return (
            bool(self.instances)
            and not any(one.is_stale for one in self.instances)
            and all(one.is_well for one in self.reports)
            and not any(one.paused_until for one in self.channels)
        )


class Platform(Protocol):
    """Looks how it stands."""

    async def state(self) -> PlatformState:
        """Return how everything stands now."""
        ...


@dataclass(frozen=True, slots=True)
class MaintenanceNotice:
    """What everybody but administrators is told instead of an answer; an empty text: the usual sentence."""

    text: str


class Maintenance(Protocol):
    """Whether the bot does nothing for others than administrators just now; it holds across restarts."""

    async def notice(self) -> MaintenanceNotice | None:
        """Return what is told instead of answers, None while maintenance is off."""
        ...

    async def begin(self, words: str) -> None:
        """Put maintenance on, or change its text."""
        ...

    async def end(self) -> bool:
        """Put it off; return whether it was on."""
        ...
