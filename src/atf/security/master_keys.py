"""Where the master key comes from, and whether it is the one of a database."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from atf.errors import ConfigurationError, Conflict
from atf.security.key_file import OwnKeyFile, is_there, read_key_file
from atf.security.master_key import HOW_TO_MAKE, MasterKey, new_key, parse_key, short_id

CREDENTIAL: Final = "atf-master-key"
"""The name of the systemd credential."""


@dataclass(frozen=True, slots=True)
class KeySources:
    """Where a master key may be, in the order in which it is looked for; the last is the own file in ``home``.

    ``given``: the key itself; ``credentials``: the folder of systemd's; ``may_be_made``: ATF runs the database
    itself, and so it may make the key, too.
    """

    home: Path
    given: str | None = field(default=None, repr=False)
    file: Path | None = None
    credentials: Path | None = None
    may_be_made: bool = False


class MasterKeys:
    """The master keys of a process: looked for when one is needed, and anew when the database has another one."""

    def __init__(self, sources: KeySources) -> None:
        self._sources = sources
        self._own = OwnKeyFile(sources.home)
        self._known: dict[str, MasterKey] = {}

    def require(self, key_id: str | None) -> None:
        """Do nothing if the key of a database is here; None: nothing is sealed in it yet.

        Errors: ConfigurationError if it is missing, another one, or what is given is no key.
        """
        if key_id is not None:
            self.fitting(key_id)
        else:
            self._given()

    def fitting(self, key_id: str) -> MasterKey:
        """Return the key of a database. Errors: ConfigurationError if it is missing or another one."""
        if key_id not in self._known:
            found = self._found()
            fits = next((key for key in found if key.id == key_id), None)
            if fits is None:
                raise _wrong(found[0], key_id) if found else self._missing(key_id)
            with suppress(ConfigurationError):  # the key of an interrupted rotation is found under either name
                self._own.settle(fits)
            self._known[key_id] = fits
        return self._known[key_id]

    def first(self) -> MasterKey:
        """Return the key for a database in which nothing is sealed yet; the embedded installation makes one.

        Errors: ConfigurationError if there is none.
        """
        found = self._found()
        if found:
            return found[0]
        if not self._sources.may_be_made:
            raise ConfigurationError(
                "ATF_MASTER_KEY: is missing, and secrets are sealed with it: set it, or ATF_MASTER_KEY_FILE to a"
                f" file that only this account may read; {HOW_TO_MAKE}"
            )
        return self._own.make(new_key(str(self._own.path)))

    def prepare(self, old: MasterKey, wanted: MasterKey | None) -> MasterKey:
        """Return the new key of a rotation; if the old one is in the own file, the new one is beside it by then.

        Errors: Conflict if none is given and the old one is where ATF cannot write.
        """
        given = self._given()
        if given is None:
            new = wanted or new_key(str(self._own.path))
            self._own.prepare(old, new)
            return new
        if wanted is None:
            raise Conflict(
                f"the master key comes from {given.origin}, where ATF cannot change it: give the new one with"
                f" --new-key FILE, and put it there afterwards; {HOW_TO_MAKE}"
            )
        return wanted

    def replace(self, new: MasterKey) -> Path | None:
        """End a rotation that is committed; return where the old key is kept if it was in the own file."""
        return None if self._given() is not None else self._own.settle(new)

    def _found(self) -> list[MasterKey]:
        given = self._given()
        return self._own.found() if given is None else [given]

    def _given(self) -> MasterKey | None:
        sources = self._sources
        if sources.given is not None:
            return parse_key(sources.given, "ATF_MASTER_KEY")
        if sources.file is not None:
            return read_key_file(sources.file, f"ATF_MASTER_KEY_FILE: {sources.file}")
        if sources.credentials is not None and is_there(sources.credentials / CREDENTIAL):
            # systemd opens it to the service's account alone, by other means than the mode.
            return read_key_file(
                sources.credentials / CREDENTIAL, f"the credential {CREDENTIAL}", is_guarded=True
            )
        return None

    def _missing(self, key_id: str) -> ConfigurationError:
        return ConfigurationError(
            f"ATF_MASTER_KEY: is missing, and this database has secrets that are sealed with the master key"
            f" {short_id(key_id)}: set it, or ATF_MASTER_KEY_FILE, or put the key back to {self._own.path}"
        )


def _wrong(found: MasterKey, key_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"{found.origin}: is the master key {found.short_id}, and the secrets of this database are sealed with"
        f" {short_id(key_id)}: give that one; nothing was changed"
    )
