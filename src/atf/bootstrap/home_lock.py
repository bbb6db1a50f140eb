"""Things that may run only once in a home, such as `atf up`: a file lock, which the kernel frees at a kill."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atf.errors import ConfigurationError, Conflict


@contextmanager
def only_one(home: Path, what: str) -> Iterator[None]:
    """Hold the lock of ``what`` (a word, also the file's name) in a home for as long as this lasts.

    Errors: Conflict that names the process that has it; ConfigurationError if the home cannot be used.
    """
    file = home / f"{what}.lock"
    try:
        home.mkdir(parents=True, exist_ok=True)
        opened = file.open("a+")
    except OSError as exc:
        raise ConfigurationError(
            f"ATF_HOME: cannot use {home} ({exc.strerror}): set it to a folder that this account can write"
        ) from exc
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Conflict(
                f"`atf {what}` runs in {home} already, process {lock.read().strip() or 'unknown'}: stop it first"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
