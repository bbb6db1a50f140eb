"""Where everything of an embedded cluster lies below the home folder.

Only paths and their creation; nothing here knows about processes or connections.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atf.errors import ConfigurationError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ELOOP)


@dataclass(frozen=True)
class HomeLayout:
    """The paths below one home folder; ``home`` is absolute."""

    home: Path

    @classmethod
    def of(cls, home: Path) -> HomeLayout:
        """Return the layout of ``home``, with ``~`` expanded and symbolic links resolved."""
        return cls(home.expanduser().resolve())

    @property
    def lock(self) -> Path:
        """Held exclusively around every start, stop and initialisation."""
        return self.home / ".lock"

    @property
    def references(self) -> Path:
        """Held shared by every process that uses the server, for as long as it lives."""
        return self.home / ".refs"

    @property
    def kept(self) -> Path:
        """It is there while the server is to run also when nobody uses it."""
        return self.home / ".kept"

    @property
    def drafts(self) -> Path:
        """Clusters that initdb is still writing; nothing in it counts."""
        return self.home / "init"

    @property
    def runtimes(self) -> Path:
        """Copies of PostgreSQL for an account that cannot reach the installed one."""
        return self.home / "pgruntime"

    def data_dir(self, major: int) -> Path:
        """Return the data directory of that major version."""
        return self.home / f"pg{major}"

    def password_file(self, major: int) -> Path:
        """Return the file with the password of the role ``atf``."""
        return self.home / f"pg{major}.password"

    def log_file(self, major: int) -> Path:
        """Return the server log."""
        return self.home / f"pg{major}.log"

    def majors(self) -> list[int]:
        """Return the major versions that have a data directory, ascending."""
        if not self.home.is_dir():
            return []
        names = (re.fullmatch(r"pg(\d+)", entry.name) for entry in self.home.iterdir() if entry.is_dir())
        return sorted(int(name[1]) for name in names if name)

    def create(self) -> None:
        """Create the home folder if it is missing.

        Root's home stays enterable, because the account that PostgreSQL runs as must pass through it.
        """
        if self.home.is_dir():
            return
        self.home.mkdir(parents=True)
        self.home.chmod(0o711 if os.geteuid() == 0 else 0o700)


def give_to_owner_of_folder(path: Path) -> None:
    """Give a file that root made to the owner of its folder, so that the owner can work without root."""
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def size_in_bytes(folder: Path) -> int:
    """Return the sum of the file sizes below ``folder``; files that vanish meanwhile count nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def remove_tree(folder: Path) -> None:
    """Remove ``folder`` as far as possible; an orphaned initdb may still be writing into it."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def storage_errors(home: Path) -> Iterator[None]:
    """Turn refusals of the file system below ``home`` into a ConfigurationError; other errors pass."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise disk_full(home) from exc
        if exc.errno in _CLOSED:
            raise _closed(home, exc) from exc
        raise


def disk_full(home: Path) -> ConfigurationError:
    """Return the error for a file system without room."""
    return ConfigurationError(
        f"the file system of {home} is full: free some space there (a new database needs about 60 MB),"
        " or set ATF_HOME to a folder on another disk"
    )


def _closed(home: Path, exc: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot use {exc.filename or home} ({exc.strerror}): make {home} a folder that this account can"
        " write, or set ATF_HOME to one"
    )
