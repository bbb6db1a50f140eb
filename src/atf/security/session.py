"""Sessions: what a sign-in begins. One lives from refresh token to refresh token, each used once. Pure.

A refresh token that is presented twice has been copied. Nobody can tell who of the two is the thief, so the
session ends for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from atf.security.tokens import Token

ACCESS_LIFETIME: Final = timedelta(minutes=15)
REFRESH_LIFETIME: Final = timedelta(days=30)
SESSION_LIFETIME: Final = timedelta(days=90)
"""However often it is refreshed: after it the password is asked for again."""


class SessionEnd(StrEnum):
    """Why a session has ended before its time."""

    SIGNED_OUT = "signed_out"
    REUSED = "reused"
    PASSWORD = "password"  # noqa: S105 - the reason, not one
    DISABLED = "disabled"


class TokenState(StrEnum):
    """What is found of a token that somebody presents; the words are those of the audit log."""

    GOOD = "good"
    NONE = "no token of ours"
    UNKNOWN = "unknown"
    FORGED = "forged: the id is one of ours and the secret is not"
    USED = "used already"
    ENDED = "revoked"
    EXPIRED = "expired"
    DISABLED = "of a user who is disabled"


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is stored, with what it hangs on: its session or user."""

    digest: bytes
    expires_at: datetime
    is_used: bool = False
    is_ended: bool = False
    is_user_active: bool = True

    def state(self, token: Token, now: datetime) -> TokenState:
        """Return what is to be said of a token that claims to be this one."""
        if not token.fits(self.digest):
            return TokenState.FORGED
        if self.is_ended:
            return TokenState.ENDED
        if self.is_used:
            return TokenState.USED
        if now >= self.expires_at:
            return TokenState.EXPIRED
        return TokenState.GOOD if self.is_user_active else TokenState.DISABLED


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a client gets: the one for each call, and the one for the next pair."""

    access: Token
    refresh: Token


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Tokens that were given out, and until when each holds."""

    user_id: int
    name: str
    tokens: TokenPair
    access_expires_at: datetime
    refresh_expires_at: datetime
