"""DocumentSeals: sensitive fields of jobs, sealed where they are stored and opened for the handler alone.

Each user has one key for documents, wrapped by the master key, so that a rotation wraps a row for each user and
touches no document. A value is bound to its owner, the job type, the kind of document and its place in it. It is
not bound to a schedule or run: the database itself copies ``task_params`` into the snapshots of runs, and retries
copy those again. Whoever can write the database could therefore move a value between jobs of one user and one
type, who may use it there anyway, and not to another user, type or field.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from atf.secrecy import conceal
from atf.security.master_key import MasterKey
from atf.security.master_keys import MasterKeys
from atf.security.sealed_fields import MARK, Place, is_sealed
from atf.security.secret_box import (
    NONCE_BYTES,
    SealBroken,
    WrappedKey,
    context_of,
    decrypt,
    encrypt,
    new_data_key,
    unwrap,
    wrap,
)

_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """A user's key as the database has it."""

    id: int
    key: WrappedKey


class MakeKey(Protocol):
    """Makes the wrapped key for the row of this id."""

    def __call__(self, row_id: int, master: MasterKey) -> WrappedKey:
        """Return a new key, wrapped."""
        ...


class DocumentKeyStore(Protocol):
    """Users' keys in the database. ``user_id`` None: of jobs that belong to nobody."""

    async def document_key(self, user_id: int | None, make: MakeKey) -> DocumentKey:
        """Return the user's key; if there is none, ``make`` makes it."""
        ...


@dataclass(frozen=True, slots=True)
class UserSeals:
    """Seals and opens the values of one user."""

    user_id: int | None
    key_id: int
    data_key: bytes = field(repr=False)

    def seal(self, job_type: str, kind: str, place: Place, value: Any) -> dict[str, str]:
        """Return a value sealed, as it stands in the document from then on."""
        text = json.dumps(value)
        _conceal(value)
        nonce, ciphertext = encrypt(self.data_key, text, self._context(job_type, kind, place))
        written = base64.urlsafe_b64encode(nonce + ciphertext).decode("ascii")
        return {MARK: f"{_VERSION}.{self.key_id}.{written}"}

    def open(self, job_type: str, kind: str, place: Place, value: Any) -> Any:
        """Return a sealed value; one that is not sealed as it is. Errors: SealBroken."""
        opened = self._opened(job_type, kind, place, value[MARK]) if is_sealed(value) else value
        _conceal(opened)
        return opened

    def _opened(self, job_type: str, kind: str, place: Place, mark: Any) -> Any:
        version, key_id, written = str(mark).split(".", 2) if str(mark).count(".") == 2 else ("", "", "")
        if (version, key_id) != (_VERSION, str(self.key_id)):
            raise SealBroken(f"a sensitive field of a {job_type} job was sealed for another user; give it again")
        try:
            sealed = base64.b64decode(written, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            sealed = b""
        context = self._context(job_type, kind, place)
        return json.loads(decrypt(self.data_key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context))

    def _context(self, job_type: str, kind: str, place: Place) -> bytes:
        return context_of("document", self.key_id, self.user_id, job_type, kind, *place)


class DocumentSeals:
    """The seals of all users; keys are opened once a process."""

    def __init__(self, store: DocumentKeyStore, keys: MasterKeys) -> None:
        self._store = store
        self._keys = keys
        self._of_user: dict[int | None, UserSeals] = {}

    async def of_user(self, user_id: int | None) -> UserSeals:
        """Return the seals of a user. Errors: ConfigurationError if the master key is not here; SealBroken."""
        if user_id not in self._of_user:
            stored = await self._store.document_key(user_id, _maker(user_id))
            master = self._keys.fitting(stored.key.key_id)
            data_key = unwrap(master, stored.key, document_key_context(stored.id, user_id))
            self._of_user[user_id] = UserSeals(user_id, stored.id, data_key)
        return self._of_user[user_id]


def document_key_context(row_id: int, user_id: int | None) -> bytes:
    """Return what a user's key is bound to: its row and its owner."""
    return context_of("document key", row_id, user_id)


def _maker(user_id: int | None) -> MakeKey:
    def make(row_id: int, master: MasterKey) -> WrappedKey:
        return wrap(master, new_data_key(), document_key_context(row_id, user_id))

    return make


def _conceal(value: Any) -> None:
    if isinstance(value, str):
        conceal(value)
