"""What became of messages: which deliveries are wanted, and figures by channel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atf.notifications.message import DeliveryStatus


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which of a user's deliveries are wanted; what is None does not matter.

    ``actions``: what alerts made happen, in place of messages; a ``channel`` has both. ``search``: a part of the
    title or the text, in whatever case. ``before_id``: only older ones than this.
    """

    user_id: int
    status: DeliveryStatus | None = None
    channel: str | None = None
    notification_type: str | None = None
    search: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    actions: bool = False
    before_id: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What went over a channel within some hours, what waits there now, and whether it works.

    ``oldest_seconds``: how long ago the oldest was written that is due. ``median_seconds``, ``p95_seconds``: from
    a message's writing to its acceptance. ``failures``: outages in a row.
    """

    channel: str
    sent: int
    failed: int
    dead: int
    pending: int
    held: int
    oldest_seconds: float | None
    median_seconds: float | None
    p95_seconds: float | None
    failures: int
    paused_until: datetime | None
    error: str | None
