"""CircuitBreaker: stops asking a source that fails, and tries again after growing pauses. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FAILURES_TO_OPEN: Final = 3
_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 300.0


@dataclass(frozen=True, slots=True)
class BreakerState:
    """What a breaker says of its source: ``closed_for`` seconds it is not asked, after so many failures."""

    failures: int
    closed_for: float
    last_error: str | None


class CircuitBreaker:
    """Opens after three failures in a row, or at once for as long as the source itself asks for.

    When the pause is over one call tries whether the source is back; all others wait for what comes of it.

    Time: seconds of any monotonic clock; ``spread`` in [0, 1) lengthens a pause by up to half, so that many
          processes do not come back in the same instant.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._opens_at = 0.0
        self._last_error: str | None = None
        self._is_probing = False

    def may_ask(self, now: float) -> bool:
        """Whether a call may be made now; the one that is allowed after a pause must report how it went."""
        if not self._is_open:
            return True
        if now < self._opens_at or self._is_probing:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        """The source answered."""
        self._failures, self._opens_at, self._last_error, self._is_probing = 0, 0.0, None, False

    def failed(self, now: float, error: str, *, retry_after: float | None = None, spread: float = 0.0) -> None:
        """The source could not answer; ``retry_after`` is the pause that it asked for, in seconds."""
        self._failures += 1
        self._last_error = error
        self._is_probing = False
        if retry_after is not None:
            self._opens_at = max(self._opens_at, now + min(retry_after, _LONGEST_PAUSE))
        if self._failures >= FAILURES_TO_OPEN:
            pause = min(_FIRST_PAUSE * 2.0 ** (self._failures - FAILURES_TO_OPEN), _LONGEST_PAUSE)
            self._opens_at = max(self._opens_at, now + pause * (1 + spread / 2))

    def given_up(self) -> None:
        """The call ended without telling anything about the source, such as one that was cancelled."""
        self._is_probing = False

    def state(self, now: float) -> BreakerState:
        """Return what a person wants to know."""
        return BreakerState(self._failures, max(0.0, self._opens_at - now), self._last_error)

    @property
    def _is_open(self) -> bool:
        return self._opens_at > 0.0
