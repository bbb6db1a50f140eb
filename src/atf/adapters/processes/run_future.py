"""The future of a run: unlike those of threads it can be cancelled while the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any

Outcome = dict[str, Any] | Exception
"""The result of a run, or why it has none."""


class RunFuture(Future[dict[str, Any]]):
    """Ends as cancelled only when nothing is left of the run: ``cancel`` asks for it and returns at once."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake
        self._own_lock = Lock()
        self._has_begun = False
        self._has_ended = False
        self._is_stop_wanted = False

    @property
    def is_stop_wanted(self) -> bool:
        """Whether the run is to be killed."""
        return self._is_stop_wanted

    def cancel(self) -> bool:
        """Ask for the run's end; False if it has ended by itself already."""
        with self._own_lock:
            if self._has_ended:
                return self._is_stop_wanted
            is_first = not self._is_stop_wanted
            self._is_stop_wanted = True
            waits = not self._has_begun
        if is_first and waits:
            self._end_cancelled()
        self._wake()
        return True

    def running(self) -> bool:
        """Tell whether a process has taken the run up."""
        return self._has_begun and not self._has_ended

    def begin(self) -> bool:
        """Note that a process takes the run up; False if it was cancelled before."""
        with self._own_lock:
            self._has_begun = not self._is_stop_wanted
            return self._has_begun

    def end(self, outcome: Outcome) -> None:
        """Say what became of the run; it counts as cancelled if that was asked for first."""
        with self._own_lock:
            if self._has_ended:
                return
            self._has_ended = True
        if self._is_stop_wanted:
            self._end_cancelled()
        elif isinstance(outcome, Exception):
            self.set_exception(outcome)
        else:
            self.set_result(outcome)

    def _end_cancelled(self) -> None:
        """End for all who wait, those of ``concurrent.futures.wait`` included."""
        with self._own_lock:
            self._has_ended = True
        super().cancel()
        self.set_running_or_notify_cancel()
