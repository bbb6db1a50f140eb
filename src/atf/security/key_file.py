"""Files with a master key: read only if nobody else may, written whole or not at all.

The own file lies in ATF's home. A rotation writes the new key beside it before the database has it, and gives it
the name of the old one afterwards, so that at every instant one of the two files has the database's key.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from atf.errors import ConfigurationError
from atf.security.master_key import MasterKey, parse_key, short_id

_LARGEST: Final = 4096
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_key_file(path: Path, name: str, *, is_guarded: bool = False) -> MasterKey:
    """Return the key in a file; ``name`` begins the sentence of a refusal.

    ``is_guarded``: something else than its mode keeps others out. Errors: ConfigurationError if the file is not
    there, if others may read it, or if it holds no key.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ConfigurationError(f"{name} is no file")
            if found.st_mode & _OTHERS and not is_guarded:
                mode = f"{stat.S_IMODE(found.st_mode):04o}"
                raise ConfigurationError(f"{name} may be read by others (mode {mode}); run: chmod 600 {path}")
            content = file.read(_LARGEST)
    except OSError as exc:
        raise ConfigurationError(f"{name} cannot be read: {exc.strerror}") from exc
    return parse_key(content.decode("ascii", "replace"), name)


class OwnKeyFile:
    """The key file of an installation."""

    def __init__(self, home: Path) -> None:
        self.path = home / "master.key"
        self._next = home / "master.key.new"

    def found(self) -> list[MasterKey]:
        """Return the key, and beside it that of a rotation whose end is missing."""
        return [read_key_file(path, str(path)) for path in (self.path, self._next) if is_there(path)]

    def make(self, key: MasterKey) -> MasterKey:
        """Store the first key; return the one that is there then: somebody else may have been faster.

        Errors: ConfigurationError if the file cannot be written.
        """
        _write(self.path, key)
        return read_key_file(self.path, str(self.path))

    def prepare(self, old: MasterKey, new: MasterKey) -> None:
        """Store the new key of a rotation beside the old one. Errors: ConfigurationError."""
        self.settle(old)
        self._next.unlink(missing_ok=True)
        _write(self._next, new)

    def settle(self, key: MasterKey) -> Path | None:
        """Put the database's key in place, if it is that of a rotation; return where the former one is kept.

        Copies of the database from before can be opened with the former one alone. Errors: ConfigurationError.
        """
        if not is_there(self._next) or read_key_file(self._next, str(self._next)).id != key.id:
            return None
        try:
            kept = self._keep()
            self._next.replace(self.path)
            _sync(self.path.parent)
        except OSError as exc:
            raise ConfigurationError(
                f"{self._next} cannot take the place of {self.path} ({exc.strerror}): rename it yourself"
            ) from exc
        return kept

    def _keep(self) -> Path | None:
        if not is_there(self.path):
            return None
        former = read_key_file(self.path, str(self.path))
        kept = self.path.with_name(f"{self.path.name}.{short_id(former.id)}")
        with suppress(FileExistsError):
            os.link(self.path, kept)
        return kept


def is_there(path: Path) -> bool:
    """Whether there is a file; what another account hides counts as not there."""
    try:
        return path.exists()
    except OSError:
        return False


def _write(path: Path, key: MasterKey) -> None:
    """Write a key under a name that is free; one that is taken stays as it is."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key.text}\n")
            file.flush()
            os.fsync(descriptor)
        if os.geteuid() == 0:  # the services may run as the account that the home belongs to
            owner = path.parent.stat()
            os.chown(draft, owner.st_uid, owner.st_gid)
        with suppress(FileExistsError):
            os.link(draft, path)
        _sync(path.parent)
    except OSError as exc:
        raise ConfigurationError(f"{path}: the master key cannot be written there: {exc.strerror}") from exc
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
