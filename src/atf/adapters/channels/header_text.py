"""How a dedup key stands in a header, which takes one line of printable ASCII."""

from __future__ import annotations

import string
from typing import Final
from urllib.parse import quote

_AS_IT_IS: Final = string.punctuation


def header_text(key: str) -> str:
    """Return a key as a header's value: what no header takes is percent-encoded, so no two keys become one."""
    return quote(key, safe=_AS_IT_IS, errors="replace")
