"""When a bot that failed is started again, and when it is given up. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

MOST_RESTARTS: Final = 3
_PAUSES: Final = (1, 5, 20)
"""How many first pauses long each pause is."""
STALE_INTERVALS: Final = 3
"""A heartbeat that is older than so many intervals means that the bot makes no progress."""
HEALTHY_INTERVALS: Final = 3
"""A bot that was well for so long has its count back; forgetting at each start would never reach the limit."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often a bot was started again since it was last well for long; ``since``: when it came up last."""

    count: int = 0
    since: datetime | None = None

    def after_start(self, now: datetime) -> Restarts:
        """Return the count of a bot that runs now."""
        return Restarts(self.count, now)

    def after_health(self, now: datetime, interval: timedelta) -> Restarts:
        """Return the count of a bot that is well now."""
        is_forgiven = self.since is not None and now - self.since >= HEALTHY_INTERVALS * interval
        return Restarts(0, self.since) if is_forgiven else self

    def after_failure(self) -> Restarts | None:
        """Return the count if the bot is started once more; None if it is given up."""
        return None if self.count >= MOST_RESTARTS else Restarts(self.count + 1)

    def pause(self, first: timedelta) -> timedelta:
        """Return how long the next start waits."""
        return _PAUSES[min(self.count, len(_PAUSES)) - 1] * first if self.count else timedelta(0)


def is_stale(last: datetime, now: datetime, interval: timedelta) -> bool:
    """Tell whether a bot has made no progress for too long."""
    return now - last > STALE_INTERVALS * interval
