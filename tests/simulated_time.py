"""An event loop whose time jumps to whatever is due next: hours pass at once, and every time alike."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
TURN = 1e-7
"""Seconds that a turn of the loop takes: who waits for less than a float can tell would wait for ever."""


class _Jumping(selectors.DefaultSelector):
    """Never waits; what the loop would have waited for is over."""

    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        assert ready or timeout is not None, "everybody waits for something that nothing brings about"
        self.jump(TURN if ready else max(timeout or 0.0, TURN))
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """``time`` begins at 0 and passes only while everybody waits; threads work in no time."""

    def __init__(self) -> None:
        selector = _Jumping()
        super().__init__(selector)
        selector.jump = self._jump
        self._now = 0.0
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as exc:  # noqa: BLE001 - it is raised where the thread is awaited
            done.set_exception(exc)
        return done


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work)
