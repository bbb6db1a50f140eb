"""Envelope encryption with AES-256-GCM: what is sealed has a key of its own, which the master key wraps. Pure.

All of it is bound to a context, such as the id of its row: moved to another place it cannot be opened. Nonces are
random; a key seals far fewer texts than the 2**32 up to which that is safe.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from atf.errors import PermanentFailure
from atf.security.master_key import KEY_BYTES, MasterKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12


class SealBroken(PermanentFailure):
    """What is sealed was changed, belongs to another place, or was sealed with another key."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key as the database has it; ``key_id`` names the master key that opens it."""

    key_id: str
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A value as the database has it, with its wrapped key."""

    key: WrappedKey
    nonce: bytes
    ciphertext: bytes


def context_of(kind: str, *parts: str | int | None) -> bytes:
    """Return what a seal is bound to; no two places have the same."""
    return json.dumps(["atf", kind, *parts]).encode("ascii")


def new_data_key() -> bytes:
    """Return a key that seals one secret, or one user's documents."""
    return secrets.token_bytes(KEY_BYTES)


def wrap(master: MasterKey, data_key: bytes, context: bytes) -> WrappedKey:
    """Wrap a key with the master key."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return WrappedKey(master.id, nonce + _cipher(master.secret).encrypt(nonce, data_key, b"key " + context))


def unwrap(master: MasterKey, key: WrappedKey, context: bytes) -> bytes:
    """Return a wrapped key. Errors: SealBroken."""
    return _opened(master.secret, key.wrapped[:NONCE_BYTES], key.wrapped[NONCE_BYTES:], b"key " + context)


def rewrap(old: MasterKey, new: MasterKey, key: WrappedKey, context: bytes) -> WrappedKey:
    """Wrap a key with another master key; what it seals stays as it is. Errors: SealBroken."""
    return wrap(new, unwrap(old, key, context), context)


def seal(master: MasterKey, value: str, context: bytes) -> SealedSecret:
    """Seal a text with a key of its own."""
    data_key = new_data_key()
    nonce, ciphertext = encrypt(data_key, value, context)
    return SealedSecret(wrap(master, data_key, context), nonce, ciphertext)


def unseal(master: MasterKey, sealed: SealedSecret, context: bytes) -> str:
    """Return a sealed text. Errors: SealBroken."""
    return decrypt(unwrap(master, sealed.key, context), sealed.nonce, sealed.ciphertext, context)


def encrypt(data_key: bytes, text: str, context: bytes) -> tuple[bytes, bytes]:
    """Return nonce and ciphertext of a text."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce, _cipher(data_key).encrypt(nonce, text.encode("utf-8"), context)


def decrypt(data_key: bytes, nonce: bytes, ciphertext: bytes, context: bytes) -> str:
    """Return the text of a ciphertext. Errors: SealBroken."""
    return _opened(data_key, nonce, ciphertext, context).decode("utf-8")


def _opened(key: bytes, nonce: bytes, ciphertext: bytes, context: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(key).decrypt(nonce, ciphertext, context)
    except (InvalidTag, ValueError) as exc:  # ValueError: a nonce of another length
        raise SealBroken(
            "a stored secret cannot be opened: it was changed in the database, or moved there from another place"
        ) from exc


def _cipher(key: bytes) -> AESGCM:
    """The library is loaded with the first seal: commands that open none do not wait for it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
