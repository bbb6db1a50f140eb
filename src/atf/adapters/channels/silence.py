"""What HTTP clients would log of a request: URLs, in which tokens and passwords stand. It is not logged at all.

Only requests that are made within ``silence`` are left out: the same libraries fetch bars, and say so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Final

_TALKATIVE: Final = ("httpx", "httpcore.connection", "urllib3.connectionpool", "requests", "apprise")
"""Loggers by their exact names: a filter does not see what those below it log."""
_SILENT: Final[ContextVar[bool]] = ContextVar("whether HTTP clients are silent", default=False)


@contextmanager
def silence() -> Iterator[None]:
    """Log nothing of the HTTP clients in this block, in tasks that start in it, and in its ``to_thread``."""
    _listen()
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


@cache
def _listen() -> None:
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_heard)


def _is_heard(_: logging.LogRecord) -> bool:
    return not _SILENT.get()
