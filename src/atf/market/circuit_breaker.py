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

    Calls that were under way when it opened tell of the time before. They carry the ``era`` in which they were
    made: their success ends no pause, and of their failures only a longer pause that the source asks for counts,
    as twenty that fail together are one outage and not eighteen further tries.

    Time: seconds of any monotonic clock; ``spread`` in [0, 1) lengthens a pause by up to half, so that many
          processes do not come back in the same instant.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._opens_at = 0.0
        self._last_error: str | None = None
        self._is_probing = False
        self.era = 0

    def may_ask(self, now: float) -> bool:
        """Whether a call may be made now; the one that is allowed after a pause must report how it went."""
        if not self._is_open:
            return True
        if now < self._opens_at or self._is_probing:
            return False
        self._is_probing = True
        return True

    def succeeded(self, era: int | None = None) -> None:
        """The source answered a call, one of the present era if not given."""
        if self._is_of_before(era):
            return
        self.era += self._is_open
        self._failures, self._opens_at, self._last_error, self._is_probing = 0, 0.0, None, False

    def failed(
        self,
        now: float,
        error: str,
        *,
        retry_after: float | None = None,
        spread: float = 0.0,
        era: int | None = None,
    ) -> None:
        """The source could not answer; ``retry_after`` is the pause that it asked for, in seconds."""
        if self._is_of_before(era):
            if self._is_open:
                self._pause(now, retry_after)
            return
        self._failures += 1
        self._last_error = error
        self._is_probing = False
        self._pause(now, retry_after)
        if self._failures >= FAILURES_TO_OPEN:
            pause = min(_FIRST_PAUSE * 2.0 ** (self._failures - FAILURES_TO_OPEN), _LONGEST_PAUSE)
            self._opens_at = max(self._opens_at, now + pause * (1 + spread / 2))
        self.era += self._is_open

    def given_up(self, era: int | None = None) -> None:
        """The call ended without telling anything about the source, such as one that was cancelled."""
        if not self._is_of_before(era):
            self._is_probing = False

    def state(self, now: float) -> BreakerState:
        """Return what a person wants to know."""
        return BreakerState(self._failures, max(0.0, self._opens_at - now), self._last_error)

    def _pause(self, now: float, wished: float | None) -> None:
        if wished is not None:
            self._opens_at = max(self._opens_at, now + min(wished, _LONGEST_PAUSE))

    def _is_of_before(self, era: int | None) -> bool:
        return era is not None and era != self.era

    @property
    def _is_open(self) -> bool:
        return self._opens_at > 0.0
