"""One request to a webhook, and what its answer means.

Nothing that leaves this module shows more of the URL than its host: paths and queries of webhooks hold secrets.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Final

import httpx

from atf.adapters.channels.silence import silence
from atf.adapters.channels.walled_transport import RefusedAddress, WalledTransport
from atf.alerts.action import shown_url
from atf.errors import PermanentFailure, TemporaryFailure
from atf.security.outgoing_address import REFUSAL, OutgoingAddresses

_EXCERPT: Final = 200
"""Characters of an answer that are kept with a refusal."""
_MOST_READ: Final = 1024
_EXCERPT_SECONDS: Final = 2.0
_LONGEST_PAUSE: Final = 86_400.0
"""Seconds; who asks for more gets a day."""
_ASK_LATER: Final = (429, 503)


async def post(
    url: str, body: bytes, headers: Mapping[str, str], patience: timedelta, allowed: OutgoingAddresses
) -> None:
    """Send one POST and look at what the other side says.

    The connection goes to an allowed address or is not made. Redirects are not followed, proxies and passwords of
    the environment are not used. An answer's status is what counts; of its body at most a short piece is read,
    and only after a refusal.

    Errors: TemporaryFailure if there is no answer, or it says later; PermanentFailure if it says no, or if the
            URL cannot or must not be asked at all.
    """
    try:
        with silence():
            async with (
                _client(patience.total_seconds(), allowed) as client,
                client.stream("POST", url, content=body, headers=dict(headers)) as response,
            ):
                await _require_accepted(response)
    except RefusedAddress as exc:
        raise PermanentFailure(f"{shown_url(url)} is not asked: its host {REFUSAL}") from exc
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError) as exc:
        raise PermanentFailure("the webhook's URL cannot be asked; look at where it was set") from exc
    except httpx.TimeoutException as exc:
        raise TemporaryFailure(f"{shown_url(url)} gave no answer in time") from exc
    except (httpx.HTTPError, OSError) as exc:
        raise TemporaryFailure(f"{shown_url(url)} cannot be reached: {_reason(exc)}") from exc


def _client(seconds: float, allowed: OutgoingAddresses) -> httpx.AsyncClient:
    # Connecting and the handshake end by themselves before a caller's time-out: cancelled in a handshake, httpx
    # leaves the connection open.
    timeout = httpx.Timeout(seconds, connect=seconds / 3)
    transport = WalledTransport(_trusted(), allowed)
    return httpx.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False, trust_env=False)


@cache
def _trusted() -> ssl.SSLContext:
    """Return whose certificates are trusted; made once, as that takes tens of milliseconds."""
    return httpx.create_ssl_context()


async def _require_accepted(response: httpx.Response) -> None:
    """Read from the status what became of a request. Errors: TemporaryFailure, PermanentFailure."""
    status, host = response.status_code, shown_url(str(response.request.url))
    if 200 <= status < 300:
        return
    if status in _ASK_LATER:
        asked = retry_after(response.headers, datetime.now(UTC))
        raise TemporaryFailure(f"{host} asks to come later (HTTP {status})", retry_after_seconds=asked)
    if status >= 500:
        raise TemporaryFailure(f"{host} is not available (HTTP {status})")
    if 300 <= status < 400:
        raise PermanentFailure(f"{host} answered with a redirect (HTTP {status}), and none is followed")
    said = await _excerpt(response)
    raise PermanentFailure(f"{host} refused it (HTTP {status}){f': {said}' if said else ''}")


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that the other side asks to wait: a number of them, or the date when it may be asked."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), _LONGEST_PAUSE)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, min((at - now).total_seconds(), _LONGEST_PAUSE))


async def _excerpt(response: httpx.Response) -> str:
    """Return how an answer begins, on one line; nothing if it does not come soon."""
    read = b""
    try:
        async with asyncio.timeout(_EXCERPT_SECONDS):
            async for piece in response.aiter_raw(_MOST_READ):
                read += piece
                if len(read) >= _MOST_READ:
                    break
    except (httpx.HTTPError, OSError):  # the refusal stands, whatever becomes of its words
        pass
    words = " ".join(read[:_MOST_READ].decode("utf-8", "replace").split())
    return "".join(letter for letter in words if letter.isprintable())[:_EXCERPT]


def _reason(exc: Exception) -> str:
    """Return a failure in our words: those of libraries may show the URL."""
    return "no connection" if isinstance(exc, httpx.ConnectError) else "the connection broke off"
