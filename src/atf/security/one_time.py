"""What is good for one use: links for who has no other way in, and codes that prove an e-mail address. Pure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from atf.errors import InvalidInput, shown
from atf.security.tokens import Token, TokenKind

CODE_LIFETIME: Final = timedelta(minutes=10)
CODE_TRIES: Final = 5
CODES_PER_HOUR: Final = 5
_CODES: Final = 1_000_000
_EMAIL: Final = re.compile(r"[^\s@]{1,64}@[^\s@.]+(?:\.[^\s@.]+)+")
_LONGEST_EMAIL: Final = 254


class LinkPurpose(StrEnum):
    """What a link is for."""

    SETUP = "setup"
    """The first password."""
    RESET = "reset"
    """Another password."""
    LINK = "link"
    """An account elsewhere, such as at Telegram."""

    @property
    def token_kind(self) -> TokenKind:
        """The kind of token in such a link."""
        return TokenKind(self.value)

    @property
    def lifetime(self) -> timedelta:
        """How long such a link holds."""
        return _LIFETIMES[self]


_LIFETIMES: Final = {
    LinkPurpose.SETUP: timedelta(days=1),
    LinkPurpose.RESET: timedelta(hours=1),
    LinkPurpose.LINK: timedelta(minutes=15),
}
PASSWORD_PURPOSES: Final = (LinkPurpose.SETUP, LinkPurpose.RESET)


class IdentityKind(StrEnum):
    """What else a user is known by."""

    EMAIL = "email"
    TELEGRAM = "telegram"


@dataclass(frozen=True, slots=True)
class Link:
    """A link that was made, with its secret, and until when it holds."""

    purpose: LinkPurpose
    user: str
    token: Token
    expires_at: datetime

    def url(self, public_url: str) -> str:
        """Return the link for a browser.

        The secret is behind the #, which browsers send to no server: it is in no log of one, and in no Referer.
        """
        return f"{public_url.rstrip('/')}/account/{self.purpose}#{self.token.text}"


@dataclass(frozen=True, slots=True)
class Code:
    """A code that was made, for whoever sends it, and until when it holds."""

    digits: str
    expires_at: datetime


class CodeState(StrEnum):
    """What came of a code; the words are those of the audit log."""

    RIGHT = "right"
    NONE = "no code holds"
    WRONG = "wrong"
    USED = "used already"
    EXPIRED = "expired"
    EXHAUSTED = "tried too often"
    TAKEN = "right, and the address belongs to another user"


@dataclass(frozen=True, slots=True)
class StoredCode:
    """A code as it is stored; ``tries``: how many were made before."""

    digest: bytes
    expires_at: datetime
    tries: int
    is_used: bool

    def state(self, digest: bytes, now: datetime) -> CodeState:
        """Return what is to be said of a try. What does not hold any more is not compared."""
        if self.is_used:
            return CodeState.USED
        if now >= self.expires_at:
            return CodeState.EXPIRED
        if self.tries >= CODE_TRIES:
            return CodeState.EXHAUSTED
        return CodeState.RIGHT if compare_digest(self.digest, digest) else CodeState.WRONG


def new_code(random: Callable[[int], int] = secrets.randbelow) -> str:
    """Return six digits."""
    return f"{random(_CODES):06d}"


def code_digest(user_id: int, email: str, code: str) -> bytes:
    """Return what is stored of a code: good for this user and this address alone."""
    return sha256(f"{user_id}:{email}:{code}".encode("utf-8", "surrogatepass")).digest()


def checked_email(text: str) -> str:
    """Return an e-mail address in its one spelling. Errors: InvalidInput that says what is allowed."""
    email = text.strip().lower()
    if len(email) > _LONGEST_EMAIL or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise InvalidInput(f"must be an address such as ann@example.org, got {shown(text)}", field="email")
    return email
