"""Whether work advances: marked by the work itself, read by whoever reports health."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """The last instant at which a loop came round; a process that lives and hangs does not mark it.

    Time: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marked_at = clock()
        self._on_first_mark: Callable[[], None] | None = None

    def mark(self) -> None:
        """Say that one round of work has been done, or that there was none to do."""
        self._marked_at = self._clock()
        report, self._on_first_mark = self._on_first_mark, None
        if report is not None:
            report()

    def on_first_mark(self, report: Callable[[], None]) -> None:
        """Call ``report`` once, at the next mark."""
        self._on_first_mark = report

    @property
    def seconds_since(self) -> float:
        """How long ago the last round ended."""
        return self._clock() - self._marked_at
