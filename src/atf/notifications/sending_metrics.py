"""What a process counts of the letters that it sends. Cheap enough for every one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from atf.jobs.run_metrics import Histogram


@dataclass(slots=True)
class ChannelMetrics:
    """The figures of one channel.

    ``outcomes`` of deliveries by: sent, failed, dead, retried, postponed (no try was used up). ``latency``:
    seconds from a message's writing to its acceptance. ``failures``: outages in a row, 0 while it works.
    """

    letters: int = 0
    failures: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class ChannelDepth:
    """What waits on a channel: deliveries, and how long ago the oldest was written that is due."""

    pending: int
    oldest_seconds: float


@dataclass(slots=True)
class SendingMetrics:
    """The figures of one process; ``depth``: what waits for anybody who sends, as it was lately."""

    by_channel: dict[str, ChannelMetrics] = field(default_factory=dict)
    depth: Mapping[str, ChannelDepth] = field(default_factory=dict)

    def of(self, channel: str) -> ChannelMetrics:
        """Return the figures of a channel, which begin at zero."""
        return self.by_channel.setdefault(channel, ChannelMetrics())
