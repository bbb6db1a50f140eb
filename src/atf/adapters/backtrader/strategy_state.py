"""A strategy's own state, which outlives its process.

A strategy that keeps one has two methods, looked up by their names:

``def save_state(self) -> dict``
    Called after each bar and each change of an order, and its result is stored together with the orders that
    the strategy made then. It must be a JSON object of at most 64 KiB.

``def load_state(self, state: dict) -> None``
    Called once, at a start, with what was stored last: the indicators are warm, and no live bar has come yet. It
    is not called if nothing was ever stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from atf.adapters.processes.documents import encoded

LONGEST_STATE: Final = 64 * 1024


def has_state(strategy: Any) -> bool:
    """Tell whether a strategy, or its class, keeps a state."""
    return callable(getattr(strategy, "save_state", None))


def state_of(strategy: Any) -> Mapping[str, Any] | None:
    """Return a strategy's state, None if it keeps none.

    Errors: PermanentFailure that names the key that JSON cannot hold, or the size.
    """
    if not has_state(strategy):
        return None
    state: Mapping[str, Any] = strategy.save_state()
    encoded(state, "the strategy's state", LONGEST_STATE)
    return state


def load_state(strategy: Any, state: Mapping[str, Any] | None) -> None:
    """Give a strategy the state that it had."""
    if state is not None and callable(getattr(strategy, "load_state", None)):
        strategy.load_state(dict(state))
