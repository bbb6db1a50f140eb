"""How a receiver of webhooks knows that a message is ATF's, and new: an HMAC over the time and the body. Pure.

The header reads ``t=<unix seconds>,v1=<hexadecimal HMAC-SHA256 of "<t>.<body>">``, keyed by the secret that both
sides know. The time is signed, so who records a request cannot send it again later; within the tolerance, the
receiver tells a copy by its id.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime, timedelta
from typing import Final

HEADER: Final = "X-ATF-Signature"
TOLERANCE: Final = timedelta(seconds=300)

_TIME: Final = re.compile(r"[0-9]{1,12}")


def sign(body: bytes, secret: str, at: datetime) -> str:
    """Return the header of a body that is sent at ``at``."""
    seconds = str(int(at.timestamp()))
    return f"t={seconds},v1={_digest(seconds, body, secret)}"


def verify(header: str, body: bytes, secret: str, now: datetime, tolerance: timedelta = TOLERANCE) -> bool:
    """Whether who knows the secret signed exactly this body, and not longer ago or later than the tolerance.

    Of several ``v1`` one is enough, so that a secret can be changed while requests are under way. An empty secret
    verifies nothing.
    """
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if not secret or len(times) != 1 or not _TIME.fullmatch(times[0]):
        return False
    if abs(now.timestamp() - int(times[0])) > tolerance.total_seconds():
        return False
    expected = _digest(times[0], body, secret).encode()
    given = [value.encode() for name, _, value in pairs if name == "v1"]
    return any([hmac.compare_digest(expected, one) for one in given])  # noqa: C419 - each takes the same time


def _digest(seconds: str, body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
