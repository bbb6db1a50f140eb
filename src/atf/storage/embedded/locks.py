"""The two file locks of an embedded cluster: the exclusive one, and the shared one that counts users.

The kernel frees both when a process dies, however it dies; there are no lists of process ids to go stale.
Descriptors are close-on-exec, so programs that are started do not hold a lock on our behalf.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from atf.errors import DatabaseUnavailable
from atf.storage.embedded.layout import give_to_owner_of_folder

_RETRY_SECONDS = 0.01


@contextmanager
def exclusive(path: Path, *, patience: timedelta) -> Iterator[None]:
    """Hold the exclusive lock on ``path``.

    Time:   waits up to ``patience`` for another process that starts or stops the server.
    Errors: DatabaseUnavailable when it is still held after that.
    """
    descriptor = _open(path)
    try:
        _wait_for(descriptor, path, patience)
        yield
    finally:
        os.close(descriptor)


class Reference:
    """One user of the server; it counts until ``release`` or the end of the process.

    A child made by fork without exec shares it and keeps it alive too.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = _open(path)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    @property
    def is_held(self) -> bool:
        """Whether this reference still counts."""
        return self._descriptor is not None

    def release(self) -> None:
        """Stop counting; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_referenced(path: Path) -> bool:
    """Return whether any process holds a reference; call it only under the exclusive lock."""
    descriptor = _open(path)
    try:
        return not _try(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    give_to_owner_of_folder(path)
    return descriptor


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(descriptor: int, path: Path, patience: timedelta) -> None:
    deadline = time.monotonic() + patience.total_seconds()
    while not _try(descriptor):
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"another process has been starting or stopping PostgreSQL for more than"
                f" {patience.total_seconds():.0f} s (it holds {path}): try again, or end that process"
            )
        time.sleep(_RETRY_SECONDS)
