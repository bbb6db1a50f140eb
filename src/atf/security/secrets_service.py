"""SecretsService: what users and administrators do with secrets: store, replace and delete, never read back.

Only services open secrets, for what they are for; no caller has a right to that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from atf.errors import Conflict, InvalidInput, NotFound, shown
from atf.secrecy import conceal, conceal_everywhere
from atf.security import secret_box
from atf.security.master_key import MasterKey
from atf.security.master_keys import MasterKeys
from atf.security.secret_box import SealedSecret, WrappedKey, context_of

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST: Final = 65_536


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """That there is a secret of a name, and since when."""

    name: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret's row."""

    id: int
    sealed: SealedSecret


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did: how many keys are wrapped anew, with which master key, where the old one is kept."""

    keys: int
    old_id: str
    new_id: str
    kept: str | None


Seal = Callable[[int, MasterKey], SealedSecret]
"""Seals for the row of this id with this master key."""
Rewrap = Callable[[bytes, WrappedKey], WrappedKey]
"""Wraps the key of this context with another master key."""


class SecretStore(Protocol):
    """Secrets in the database. ``user_id`` None: the platform's own."""

    async def save(self, user_id: int | None, name: str, seal: Seal) -> SecretEntry:
        """Store what ``seal`` returns for the row of this name, in place of what is there."""
        ...

    async def load(self, user_id: int | None, name: str) -> StoredSecret | None:
        """Return one."""
        ...

    async def list_secrets(self, user_id: int | None) -> Sequence[SecretEntry]:
        """Return what there is, by name."""
        ...

    async def delete(self, user_id: int | None, name: str) -> bool:
        """Forget one; return whether there was one."""
        ...

    async def master_key_id(self) -> str | None:
        """Return the id of the key with which everything is sealed; None if nothing is."""
        ...

    async def rewrap_all(self, old_id: str, new_id: str, rewrap: Rewrap) -> int:
        """Wrap all keys anew in one transaction, and return how many they were.

        Errors: Conflict, and nothing is changed, if the master key is not the old one any more.
        """
        ...


class SecretsService:
    """Seals secrets; who may call it is decided before."""

    def __init__(self, store: SecretStore, keys: MasterKeys) -> None:
        self._store = store
        self._keys = keys

    async def set_secret(self, user_id: int | None, name: str, value: str) -> SecretEntry:
        """Store a secret, in place of one of this name. Errors: InvalidInput that does not show the value."""
        name = checked_name(name)
        _check_value(value)
        conceal(value)

        def seal(row_id: int, key: MasterKey) -> SealedSecret:
            return secret_box.seal(key, value, secret_context(row_id, user_id, name))

        return await self._store.save(user_id, name, seal)

    async def list_secrets(self, user_id: int | None) -> Sequence[SecretEntry]:
        """Return which secrets there are, by name, without their values."""
        return await self._store.list_secrets(user_id)

    async def delete_secret(self, user_id: int | None, name: str) -> None:
        """Forget a secret. Errors: NotFound that lists the names."""
        if not await self._store.delete(user_id, name):
            raise await self._unknown(user_id, name)

    async def reveal(self, user_id: int | None, name: str) -> str:
        """Return a secret's value, for services alone; no text of this process says it from now on.

        Errors: NotFound; ConfigurationError if the master key has changed and is not here; SealBroken.
        """
        stored = await self._store.load(user_id, name)
        if stored is None:
            raise await self._unknown(user_id, name)
        key = self._keys.fitting(stored.sealed.key.key_id)
        value = secret_box.unseal(key, stored.sealed, secret_context(stored.id, user_id, name))
        conceal_everywhere(value)
        return value

    async def rotate(self, old: MasterKey | None = None, new: MasterKey | None = None) -> Rotation:
        """Wrap everything with another master key, all or nothing; without ``old`` it is the one that is here.

        Errors: Conflict if nothing is sealed, or no new key is given and ATF cannot put one in place;
                ConfigurationError if the old key is not the database's.
        """
        key_id = await self._store.master_key_id()
        if key_id is None:
            raise Conflict(
                "nothing is sealed in this database yet: set the new master key, there is nothing to rotate"
            )
        old = self._checked_old(old, key_id)
        if new is not None and new.id == old.id:
            raise InvalidInput("is the master key that the database has already", field="--new-key")
        new = self._keys.prepare(old, new)
        count = await self._store.rewrap_all(old.id, new.id, _rewrapping(old, new))
        kept = self._keys.replace(new)
        return Rotation(count, old.short_id, new.short_id, None if kept is None else str(kept))

    def _checked_old(self, old: MasterKey | None, key_id: str) -> MasterKey:
        if old is None:
            return self._keys.fitting(key_id)
        if old.id != key_id:
            raise InvalidInput("is not the master key of this database; nothing was changed", field="--old-key")
        return old

    async def _unknown(self, user_id: int | None, name: str) -> NotFound:
        known = ", ".join(one.name for one in await self._store.list_secrets(user_id)) or "none"
        return NotFound(f"there is no secret {shown(name)}; secrets here: {known}")


def checked_name(name: str) -> str:
    """Return a secret's name. Errors: InvalidInput that says what is allowed."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "must be 1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter or a digit",
            field="name",
        )
    return name


def secret_context(row_id: int, user_id: int | None, name: str) -> bytes:
    """Return what a secret is bound to: its row, its owner and its name."""
    return context_of("secret", row_id, user_id, name)


def _check_value(value: str) -> None:
    if not value:
        raise InvalidInput("is empty", field="value")
    if len(value) > _LONGEST:
        raise InvalidInput(f"has {len(value)} characters; at most {_LONGEST}", field="value")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidInput("has characters that are no text", field="value")


def _rewrapping(old: MasterKey, new: MasterKey) -> Rewrap:
    return lambda context, key: secret_box.rewrap(old, new, key, context)
