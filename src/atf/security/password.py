"""Passwords: what they must be, and argon2id over them.

Hashing is slow and takes memory on purpose. It is done in threads, so that the event loop goes on, and by two at
a time at most, so that a flood of sign-ins takes no more memory than two.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from base64 import b64encode
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from atf.errors import InvalidInput

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST: Final = 12
LONGEST: Final = 256
_LONGEST_LOOKED_AT: Final = 4 * LONGEST
"""In another spelling a character may be up to three."""
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_AT_A_TIME: Final = 2


@dataclass(frozen=True, slots=True)
class HashCost:
    """What a hash costs: memory, passes over it, and threads.

    Source: RFC 9106, the second recommended option, with one thread, as sign-ins must not take all processors.
    """

    memory_kib: int = 65_536
    passes: int = 3
    threads: int = 1


def checked_password(password: str) -> str:
    """Return a password that may be set.

    Errors: InvalidInput that says what is allowed and does not repeat the password.
    """
    length = len(_normal(password))
    if not SHORTEST <= length <= LONGEST:
        raise InvalidInput(f"must have {SHORTEST} to {LONGEST} characters, got {length}", field="password")
    return password


class Passwords:
    """Hashes passwords and compares them with hashes; ``cost`` is that of new hashes."""

    def __init__(self, cost: HashCost | None = None) -> None:
        self._cost = cost or HashCost()
        self._turns = asyncio.Semaphore(_AT_A_TIME)
        self._nobodys = self._hash_of_nothing()

    @cached_property
    def _hasher(self) -> PasswordHasher:
        from argon2 import PasswordHasher, Type  # most commands hash nothing, and would wait for it

        return PasswordHasher(
            time_cost=self._cost.passes,
            memory_cost=self._cost.memory_kib,
            parallelism=self._cost.threads,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
            type=Type.ID,
        )

    async def hash(self, password: str) -> str:
        """Return a hash with its salt and cost, in the PHC format."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, _bytes_of(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Return whether a password is the one of a hash.

        Without a hash the answer is no, and takes as long: nobody learns by the time who has a password here.
        """
        given = _bytes_of(
            password[:_LONGEST_LOOKED_AT]
        )  # nobody has a longer one, and megabytes would take longer
        async with self._turns:
            is_right = await asyncio.to_thread(self._is_right, stored or self._nobodys, given)
        return is_right and stored is not None and len(password) <= _LONGEST_LOOKED_AT

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made at another cost than those that are made now."""
        return self._hasher.check_needs_rehash(stored)

    def _is_right(self, stored: str, given: bytes) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return self._hasher.verify(stored, given)
        except (VerificationError, InvalidHashError):
            return False

    def _hash_of_nothing(self) -> str:
        """Return a hash that is of no password, as it was not made of one."""
        cost = self._cost
        salt, hashed = (_unpadded(secrets.token_bytes(size)) for size in (_SALT_BYTES, _HASH_BYTES))
        return f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.threads}${salt}${hashed}"


def _normal(password: str) -> str:
    """Return a password in one spelling: an accented letter is one character or two, by the keyboard."""
    return unicodedata.normalize("NFC", password)


def _bytes_of(password: str) -> bytes:
    return _normal(password).encode("utf-8", "surrogatepass")  # JSON may hold half a surrogate pair


def _unpadded(value: bytes) -> str:
    return b64encode(value).decode().rstrip("=")
