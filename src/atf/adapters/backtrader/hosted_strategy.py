"""A user's strategy, unchanged, as a class that lets history pass by without acting on it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Protocol


class Stage(Protocol):
    """Where the conversation stands."""

    @property
    def is_history(self) -> bool:
        """Whether the bar that is being worked on came too late to act on it."""
        ...


def hosted(strategy: Any, stage: Stage, config: Mapping[str, Any]) -> Any:
    """Return a subclass of a strategy for one process.

    Bars of history move its lines and indicators, and call none of its methods, analyzers or observers. The first
    bar that is not history calls ``nextstart`` once, as Backtrader would have done at the end of the warm-up.
    ``config`` can be read as an attribute, unless the strategy has its own of that name.

    It is derived from the strategy alone, as Backtrader counts a class's lines and parameters by its bases.
    """
    members = {
        "__module__": strategy.__module__,
        "__qualname__": strategy.__qualname__,
        "__doc__": strategy.__doc__,
        "_users": strategy,
        "_stage": stage,
        "_has_begun": False,
        "_has_analyzed": False,
        "_next": _next,
        "nextstart": _nextstart,
        "next": _next_of_user,
        "_next_analyzers": _next_analyzers,
        "clear": _clear,
        "_stop": _stop,
    }
    if not hasattr(strategy, "config"):
        members["config"] = dict(config)
    return type(strategy)(strategy.__name__, (strategy,), members)


def _next(self: Any) -> None:
    if not self._stage.is_history:
        self._users._next(self)
        return
    self._clk_update()
    for indicator in self._lineiterators[self.IndType]:
        indicator._next()
    self._getminperstatus()


def _nextstart(self: Any) -> None:
    self._has_begun = True
    self._users.nextstart(self)


def _next_of_user(self: Any) -> None:
    if self._has_begun:
        self._users.next(self)
    else:
        self.nextstart()


def _next_analyzers(self: Any, minperstatus: int, once: bool = False) -> None:
    if minperstatus < 0 and not self._has_analyzed:
        minperstatus = 0  # their first bar, too
    self._has_analyzed = self._has_analyzed or minperstatus == 0
    self._users._next_analyzers(self, minperstatus, once)


def _clear(self: Any) -> None:
    """Forget what was notified; Backtrader would keep each copy of each order for ever."""
    self._orderspending = []
    self._tradespending = []


def _stop(self: Any) -> None:
    self.stop()
    for analyzer in itertools.chain(self.analyzers, self._slave_analyzers):
        analyzer.is_complete = _ends_well(analyzer)
    self._stage1()


def _ends_well(analyzer: Any) -> bool:
    """End an analyzer; some of Backtrader's divide by the number of bars, or take the logarithm of nothing."""
    try:
        analyzer._stop()
    except (ArithmeticError, ValueError):
        return False
    return True
