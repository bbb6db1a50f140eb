"""What an error of a channel means for a delivery: to be tried again, and when, or given up. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from atf.errors import PermanentFailure, TemporaryFailure
from atf.jobs.retry import BackOff
from atf.notifications.channel import ChannelThrottled, ChannelUnavailable, RecipientUnreachable
from atf.notifications.message import Delivery, DeliveryStatus
from atf.notifications.outbox import Settled

_RETRY: Final = BackOff(timedelta(seconds=10))
LONGEST_WAIT: Final = timedelta(hours=1)
"""However long the other side asks to wait: who looks for the message later must find it."""


def failed_try(delivery: Delivery, error: Exception, *, retries: int, jitter: float) -> Settled:
    """Return how a try ended that used one of the delivery's up."""
    if isinstance(error, PermanentFailure):
        is_gone = isinstance(error, RecipientUnreachable)
        return Settled(delivery, DeliveryStatus.FAILED, error=str(error), unreachable=is_gone)
    text = str(error) if isinstance(error, TemporaryFailure) else f"{type(error).__name__}: {error}"
    if delivery.attempts >= retries:
        return Settled(delivery, DeliveryStatus.DEAD, error=text)
    wait = max(_asked(error), _RETRY.delay(delivery.attempts + 1, jitter))
    return Settled(delivery, DeliveryStatus.PENDING, error=text, retry_in=wait)


def postponed(delivery: Delivery, error: Exception) -> Settled:
    """Return how a try ended that says nothing about the delivery: it is made again, as if it had not been.

    While a channel is paused nothing is sent on it, and when it is not any more nothing is to wait.
    """
    is_channels = isinstance(error, ChannelUnavailable | ChannelThrottled)
    wait = timedelta(0) if is_channels else _asked(error)
    return Settled(delivery, DeliveryStatus.PENDING, error=str(error), retry_in=wait, counts=False)


def _asked(error: Exception) -> timedelta:
    seconds = error.retry_after_seconds if isinstance(error, TemporaryFailure) else None
    return min(LONGEST_WAIT, timedelta(seconds=seconds or 0))
