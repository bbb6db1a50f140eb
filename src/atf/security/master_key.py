"""The master key: 32 bytes outside of the database, and how they are written. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from atf.errors import ConfigurationError

KEY_BYTES: Final = 32
HOW_TO_MAKE: Final = "make one with: openssl rand -base64 32"
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_SHOWN_OF_ID: Final = 8


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The key that wraps all others; ``origin`` is how a sentence names the place that it comes from."""

    secret: bytes = field(repr=False)
    origin: str

    @property
    def id(self) -> str:
        """What the database knows the key by; the key does not follow from it."""
        return hmac.new(self.secret, b"the id of a master key of atf", hashlib.sha256).hexdigest()[:32]

    @property
    def short_id(self) -> str:
        """The id as people read it."""
        return short_id(self.id)

    @property
    def text(self) -> str:
        """The key as it stands in a file."""
        return base64.b64encode(self.secret).decode("ascii")


def short_id(key_id: str) -> str:
    """Return as much of a key's id as tells keys apart."""
    return key_id[:_SHOWN_OF_ID]


def new_key(origin: str) -> MasterKey:
    """Return a key that nobody has had before."""
    return MasterKey(secrets.token_bytes(KEY_BYTES), origin)


def parse_key(text: str, origin: str) -> MasterKey:
    """Read a key: base64, also that of URLs, or hex.

    Errors: ConfigurationError that names the origin, without what was found.
    """
    written = "".join(text.split())
    key = bytes.fromhex(written) if _HEX.fullmatch(written) else _from_base64(written)
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"{origin}: must be {KEY_BYTES} bytes in base64 (44 characters) or hex (64 digits); {HOW_TO_MAKE}"
        )
    return MasterKey(key, origin)


def _from_base64(text: str) -> bytes:
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    try:
        return base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return b""
