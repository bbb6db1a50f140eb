"""Tokens: random texts that stand for somebody. Only their hash is stored; who reads the database has none.

A token reads ``atf_<kind>_<id>_<secret>``. The id finds its row and may be shown; the secret has 256 bits, so
that a plain hash is enough and nothing needs to be slow.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from atf.errors import InvalidInput, shown

_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32
LONGEST_NAME: Final = 64
LONGEST_DAYS: Final = 3660


class TokenKind(StrEnum):
    """What a token is for; none is good for anything else."""

    ACCESS = "access"
    REFRESH = "refresh"
    API = "api"
    SERVICE = "service"
    SETUP = "setup"
    RESET = "reset"
    LINK = "link"


_TOKEN: Final = re.compile(
    rf"atf_(?P<kind>{'|'.join(TokenKind)})_(?P<id>[0-9a-f]{{{2 * _ID_BYTES}}})_[A-Za-z0-9_-]{{43}}"
)
_SHOWN: Final = re.compile(rf"(?:atf_[a-z]+_)?(?P<id>[0-9a-f]{{{2 * _ID_BYTES}}})(?:_.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as its owner has it; ``text`` is the secret whole and is told to nobody else."""

    kind: TokenKind
    id: str
    text: str = field(repr=False)

    @property
    def shown(self) -> str:
        """The part that may be shown."""
        return token_shown(self.kind, self.id)

    @property
    def digest(self) -> bytes:
        """What is stored: the hash of the whole, so that neither kind nor id can be exchanged."""
        return sha256(self.text.encode()).digest()

    def fits(self, digest: bytes) -> bool:
        """Whether this is the token of a stored hash; how long it takes tells nothing."""
        return compare_digest(self.digest, digest)


def token_shown(kind: TokenKind, token_id: str) -> str:
    """Return the part of a token that may be shown."""
    return f"atf_{kind}_{token_id}"


def new_token(kind: TokenKind, random: Callable[[int], bytes] = secrets.token_bytes) -> Token:
    """Return a token that nobody has had."""
    token_id, secret = random(_ID_BYTES).hex(), _url_safe(random(_SECRET_BYTES))
    return Token(kind, token_id, f"atf_{kind}_{token_id}_{secret}")


def parse_token(text: str, *kinds: TokenKind) -> Token | None:
    """Return a token of one of these kinds, None for whatever else it may be."""
    found = _TOKEN.fullmatch(text)
    if found is None or found["kind"] not in kinds:
        return None
    return Token(TokenKind(found["kind"]), found["id"], text)


def token_id_in(text: str) -> str | None:
    """Return the id in a token, in what is shown of one, or in itself."""
    found = _SHOWN.fullmatch(text.strip())
    return None if found is None else found["id"]


def checked_token_name(name: str) -> str:
    """Return the name of an API or service token. Errors: InvalidInput that says what is allowed."""
    stripped = name.strip()
    if not (1 <= len(stripped) <= LONGEST_NAME and stripped.isprintable()):
        raise InvalidInput(f"must have 1 to {LONGEST_NAME} printable characters, got {shown(name)}", field="name")
    return stripped


def checked_days(days: int) -> timedelta:
    """Return how long a token holds. Errors: InvalidInput that says what is allowed."""
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidInput(f"must be from 1 to {LONGEST_DAYS}, got {shown(days)}", field="days")
    return timedelta(days=days)


def _url_safe(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")
