"""URLs without their passwords, fit for screens, logs and error messages."""

from __future__ import annotations

import re
from typing import Final

_SCHEME: Final = re.compile(r"^(?:postgres|postgresql(?:\+\w+)?)://")
# Up to the last @: a password with an unescaped @ or / must not show its second half.
_PASSWORD: Final = re.compile(r"(?<=://)([^:/@]*):.*@", re.DOTALL)
_PARAMETER: Final = re.compile(r"([?&](?:password|sslpassword)=)[^&]*", re.IGNORECASE)


def masked_url(url: str) -> str:
    """Return a database URL without its password; what is no URL is not shown at all."""
    if "://" not in url:
        return "***"
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def without_driver(url: str) -> str:
    """Return a database URL in the one spelling in which two of the same database are equal."""
    return _SCHEME.sub("postgresql://", url)
