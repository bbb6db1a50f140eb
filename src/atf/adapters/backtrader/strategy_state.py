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

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from atf.adapters.processes.documents import encoded
from atf.errors import PermanentFailure
from atf.jobs.schema_validator import is_storable

LONGEST_STATE: Final = 64 * 1024
_MAYBE_UNSTORABLE: Final = re.compile(rb"\\u(?:0000|d[89a-f])")
"""How JSON spells what may be a NUL or half of a surrogate pair."""


def has_state(strategy: Any) -> bool:
    """Tell whether a strategy, or its class, keeps a state."""
    return callable(getattr(strategy, "save_state", None))


def state_of(strategy: Any) -> Mapping[str, Any] | None:
    """Return a strategy's state, None if it keeps none.

    Errors: PermanentFailure that names the key that JSON or the database cannot hold, or the size.
    """
    if not has_state(strategy):
        return None
    state: Mapping[str, Any] = strategy.save_state()
    body = encoded(state, "the strategy's state", LONGEST_STATE)
    if _MAYBE_UNSTORABLE.search(body):
        _require_storable(json.loads(body))
    return state


def _require_storable(state: object) -> None:
    """Refuse here what the database would refuse, together with what other bots want to store meanwhile."""
    path = next(_unstorable(state, ""), None)
    if path is not None:
        raise PermanentFailure(f"the strategy's state holds NUL or half of a surrogate pair at {path[:60]}")


def _unstorable(node: object, path: str) -> Iterator[str]:
    match node:
        case str() if not is_storable(node):
            yield path
        case list():
            for index, part in enumerate(node):
                yield from _unstorable(part, f"{path}[{index}]")
        case dict():
            for name, part in node.items():
                inner = f"{path}.{name}" if path else name
                yield from () if is_storable(name) else (repr(inner),)
                yield from _unstorable(part, inner)


def load_state(strategy: Any, state: Mapping[str, Any] | None) -> None:
    """Give a strategy the state that it had."""
    if state is not None and callable(getattr(strategy, "load_state", None)):
        strategy.load_state(dict(state))
