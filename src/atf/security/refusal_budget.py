"""How many refusals of worthless tokens are recorded one by one: anybody could fill the audit log. Pure.

What somebody makes up costs nothing, so of each address so many a minute are recorded; how many more there were
is said by the next one that is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

_WINDOW: Final = timedelta(minutes=1)
_MOST_ADDRESSES: Final = 10_000


@dataclass(slots=True)
class _Window:
    began_at: datetime
    recorded: int = 0
    left_out: int = 0


@dataclass(slots=True)
class RefusalBudget:
    """Counts by address what one process refuses."""

    a_minute: int = 20
    _windows: dict[str | None, _Window] = field(default_factory=dict)

    def spend(self, address: str | None, now: datetime) -> int | None:
        """Return how many were left out since the last one recorded of an address; None to leave this one out."""
        window = self._window(address, now)
        if window.recorded >= self.a_minute:
            window.left_out += 1
            return None
        window.recorded += 1
        left_out, window.left_out = window.left_out, 0
        return left_out

    def _window(self, address: str | None, now: datetime) -> _Window:
        window = self._windows.get(address)
        if window is None or not timedelta(0) <= now - window.began_at < _WINDOW:
            self._windows.pop(address, None)  # to the end, as the oldest are forgotten first
            window = _Window(now, left_out=window.left_out if window else 0)
            self._windows[address] = window
            if len(self._windows) > _MOST_ADDRESSES:
                del self._windows[next(iter(self._windows))]
        return window
