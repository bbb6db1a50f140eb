"""How long to wait before the next try: exponential, capped, with full jitter. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


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
