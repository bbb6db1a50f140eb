"""Waiting for what happens elsewhere: on a condition, with an end, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
PATIENCE_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.02


def wait_for(condition: Callable[[], T], patience: float = PATIENCE_SECONDS, *, what: str = "") -> T:
    """Return what the condition returns as soon as that is true.

    Errors: AssertionError after ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {patience:g} s in vain {what}".strip())
        time.sleep(_LOOK_SECONDS)
    return found
