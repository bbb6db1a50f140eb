"""Rate limits: when the next letter may go, over all, to one recipient and to one group. Pure.

Time: seconds of any monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from atf.notifications.channel import ChannelLimits, Recipient

_MOST_METERS: Final = 10_000
_SECONDS_A_MINUTE: Final = 60.0


@dataclass(slots=True)
class _Meter:
    """Lets one through each ``interval`` seconds.

    After a pause there is no more at once: nobody knows where a second of the other side begins.
    """

    interval: float
    free_at: float = float("-inf")

    def spend(self, now: float) -> None:
        self.free_at = max(self.free_at, now) + self.interval

    def pause(self, until: float) -> None:
        self.free_at = max(self.free_at, until)


class RateLimits:
    """The limits of one channel, as far as they are used up."""

    def __init__(self, limits: ChannelLimits) -> None:
        self.limits = limits
        rate = limits.per_second
        self._all = _Meter(0.0 if rate is None else 1 / rate)
        self._recipients: dict[str, _Meter] = {}

    def free_at(self) -> float:
        """Return when the channel takes the next letter."""
        return self._all.free_at

    def recipient_free_at(self, recipient: Recipient) -> float:
        """Return when a recipient takes the next letter, as far as the recipient goes."""
        meter = self._recipients.get(_name(recipient))
        return float("-inf") if meter is None else meter.free_at

    def interval(self, recipient: Recipient) -> float:
        """Return how many seconds lie between two letters to a recipient."""
        intervals = [0.0]
        if self.limits.per_recipient_second is not None:
            intervals.append(1 / self.limits.per_recipient_second)
        if recipient.is_group and self.limits.per_group_minute is not None:
            intervals.append(_SECONDS_A_MINUTE / self.limits.per_group_minute)
        return max(intervals)

    def spend(self, recipient: Recipient, now: float) -> None:
        """Count a letter that goes now."""
        self._all.spend(now)
        if self.interval(recipient):
            self._meter(recipient, now).spend(now)

    def pause(self, recipient: Recipient, until: float, now: float) -> None:
        """Send nothing to a recipient before an instant, as it was asked for."""
        self._meter(recipient, now).pause(until)

    def _meter(self, recipient: Recipient, now: float) -> _Meter:
        name = _name(recipient)
        meter = self._recipients.get(name)
        if meter is None:
            if len(self._recipients) >= _MOST_METERS:  # who is free is no different from who is not known
                self._recipients = {name: one for name, one in self._recipients.items() if one.free_at > now}
            meter = self._recipients[name] = _Meter(self.interval(recipient))
        return meter


def _name(recipient: Recipient) -> str:
    """Return by what a recipient is known: those of one address are one; without any each is one."""
    return recipient.address or f"user {recipient.user_id}"
