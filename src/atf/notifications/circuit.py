"""Circuit: whether a channel's provider is asked now. Pure.

It opens with the first outage and is then tried with one letter at a time after growing pauses; with the first
one that is accepted all go again.

Time: seconds of any monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from atf.jobs.retry import BackOff

_BACK_OFF: Final = BackOff(timedelta(seconds=1), cap=timedelta(minutes=1))
_LONGEST_PAUSE: Final = 3600.0


@dataclass(slots=True)
class Circuit:
    """``failures``: outages in a row; ``opens_at``: until when nothing is sent; ``error``: of the last one."""

    failures: int = 0
    opens_at: float = float("-inf")
    error: str = ""

    def adopt(self, failures: int, seconds: float, error: str, now: float) -> None:
        """Go on with an outage that another sender has found, unless this one knows of one itself."""
        if now >= self.opens_at and not self.failures:
            self.failures, self.opens_at, self.error = failures, now + seconds, error

    def may_send(self, now: float) -> bool:
        """Whether a letter may go now."""
        return now >= self.opens_at

    def width(self, concurrency: int) -> int:
        """Return how many letters may be under way: one, as long as it is not known that the outage is over."""
        return 1 if self.failures else concurrency

    def failed(
        self, now: float, error: str, *, began_at: float, asked: float | None = None, jitter: float
    ) -> None:
        """The provider could not take a letter; those that were under way when it opened are the same outage."""
        if began_at >= self.opens_at:
            self.failures += 1
            self.error = error
            self.opens_at = now + _BACK_OFF.delay(self.failures, jitter).total_seconds()
        self.pause(now, asked)

    def pause(self, now: float, asked: float | None) -> None:
        """Send nothing for the seconds that the provider asks for; this alone is no outage."""
        if asked is not None:
            self.opens_at = max(self.opens_at, now + min(asked, _LONGEST_PAUSE))

    def succeeded(self) -> None:
        """The provider took a letter, which ends an outage."""
        self.failures, self.error = 0, ""
