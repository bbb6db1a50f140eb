"""What follows a failure: whether another try may help, and how long to wait for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from atf.errors import InvalidInput, PermanentFailure, TemporaryFailure

LONGEST_PAUSE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class BackOff:
    """Waits that double from ``first`` up to ``cap``."""

    first: timedelta
    cap: timedelta = timedelta(minutes=15)

    def delay(self, attempt: int, jitter: float) -> timedelta:
        """Return the wait after the ``attempt``-th failure, 1 being the first.

        ``jitter`` in [0, 1] is the share of the full wait that is taken; at least a tenth always is, so that
        a storm of retries spreads out and yet never comes back at once.
        """
        doubled = self.first * float(2 ** min(attempt - 1, 30))
        return min(self.cap, doubled) * max(0.1, jitter)


def is_permanent(error: BaseException) -> bool:
    """Tell whether another try would fail the same way; an error may say so itself by ``is_permanent``."""
    said = getattr(error, "is_permanent", None)
    return said if isinstance(said, bool) else isinstance(error, PermanentFailure | InvalidInput)


def pause_before_retry(error: BaseException, attempt: int, first: timedelta, jitter: float) -> timedelta:
    """Return how long to wait after the ``attempt``-th failure, or what the other side asked for."""
    waits = BackOff(first, cap=max(first, timedelta(minutes=15))).delay(attempt, jitter)
    asked = getattr(error, "retry_after_seconds", None) if isinstance(error, TemporaryFailure) else None
    if not isinstance(asked, int | float) or not asked > 0:  # a plug-in may say anything, and NaN is not > 0
        return waits
    return min(LONGEST_PAUSE, max(waits, timedelta(seconds=min(asked, LONGEST_PAUSE.total_seconds()))))
