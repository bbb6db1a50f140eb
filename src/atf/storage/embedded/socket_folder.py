"""The folder of the server's unix socket: below the home folder, or a short one where that is too long."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from atf.errors import ConfigurationError
from atf.storage.embedded.account import Account
from atf.storage.embedded.lock_files import SOCKET_NAME

# The kernel takes 107 bytes on Linux and 103 on macOS.
_LONGEST_SOCKET_PATH = 100
# These separate or quote list items in unix_socket_directories, and hosts in a connection string.
_SPECIAL = frozenset(",\"'")


def socket_folder(home: Path, uid: int) -> Path:
    """Return the folder for the socket of the cluster in ``home``; the same home always gets the same."""
    preferred = home / "sock"
    if len(os.fsencode(preferred / SOCKET_NAME)) <= _LONGEST_SOCKET_PATH and not _SPECIAL & set(str(home)):
        return preferred
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"atf-{uid}-{digest}"


def create_socket_folder(folder: Path, account: Account) -> None:
    """Create the folder, open to ``account`` alone; one that exists must be exactly that.

    Errors: ConfigurationError when somebody else's folder, file or link has the name.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        _check(folder, account)
        return
    if os.geteuid() != account.uid:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def remove_short_folder(folder: Path, home: Path) -> None:
    """Remove an empty socket folder that lies outside ``home``."""
    if not folder.is_relative_to(home):
        try:
            folder.rmdir()
        except OSError:
            return


def _check(folder: Path, account: Account) -> None:
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid and not found.st_mode & 0o077:
        return
    raise ConfigurationError(
        f"{folder} is not a folder of mode 0700 that belongs to {account.name!r}: remove it;"
        " the socket of PostgreSQL must not be in anybody else's hands"
    )
