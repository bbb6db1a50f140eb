"""Channel ``webhook``: a trigger, or a message to a person, is sent as JSON to a URL of the user's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from atf.adapters.channels.action_delivery import part, require_in_time
from atf.adapters.channels.header_text import header_text
from atf.clock import Clock, SystemClock
from atf.errors import PermanentFailure
from atf.notifications import webhook_signature
from atf.notifications.channel import ChannelLimits, Letter, Reach, TextForm
from atf.notifications.message import ACTION
from atf.security.outgoing_address import OutgoingAddresses


class WebhookChannel:
    """Sends each letter as one POST, with its dedup key as ``Idempotency-Key``.

    An action of an alert goes to the URL of its payload, with the body of its payload. A message goes to the
    recipient's address, and is signed with the recipient's secret, if there is one (``webhook_signature``).
    Attachments are not sent. ``allowed``: where it may go; to public addresses alone unless it says otherwise.
    ``clock``: by which actions are late, none in a replay.
    """

    name = "webhook"
    is_idempotent = False
    disturbs = False
    reach = Reach.EACH
    form = TextForm.PLAIN
    limits = ChannelLimits(concurrency=8)

    def __init__(
        self,
        clock: Clock | None,
        *,
        timeout: timedelta = timedelta(seconds=30),
        allowed: OutgoingAddresses = OutgoingAddresses(),  # noqa: B008 - it is frozen
    ) -> None:
        self._clock = clock
        self._allowed = allowed
        self._timeout = timeout

    async def send(self, letter: Letter) -> str | None:
        """POST the trigger or the message.

        Errors: those of ``webhook_request.post``; PermanentFailure if an action is late.
        """
        if letter.notification_type == ACTION:
            require_in_time(letter, self._clock)
            url, body, signature = part(letter, "url", str), _action_body(letter), {}
        else:
            # The receiver's clock is a real one, whatever the market's time is.
            sent_at = SystemClock().now()
            url, body = letter.recipient.address, _message_body(letter, sent_at)
            signature = _signature(letter, body, sent_at)
        post = await asyncio.to_thread(_load)
        await post(url, body, {**_headers(letter), **signature}, self._timeout, self._allowed)
        return None

    async def close(self) -> None:
        """Do nothing: each request has a connection of its own."""


def _load() -> Callable[[str, bytes, Mapping[str, str], timedelta, OutgoingAddresses], Awaitable[None]]:
    """Load the HTTP client with the first webhook: it takes long, and few installations have one."""
    from atf.adapters.channels.webhook_request import post

    return post


def _action_body(letter: Letter) -> bytes:
    return json.dumps(part(letter, "body", dict), allow_nan=False).encode()


def _message_body(letter: Letter, sent_at: datetime) -> bytes:
    document: dict[str, Any] = {
        "id": letter.dedup_key,
        "type": letter.notification_type,
        "title": letter.title,
        "text": letter.text,
        "priority": str(letter.priority),
        "language": letter.recipient.language,
        "sent_at": sent_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": dict(letter.payload),
    }
    try:
        return json.dumps(document, allow_nan=False).encode()
    except (TypeError, ValueError) as exc:
        raise PermanentFailure("not sent: its payload is no JSON") from exc


def _signature(letter: Letter, body: bytes, sent_at: datetime) -> dict[str, str]:
    secret = letter.recipient.secret
    return {webhook_signature.HEADER: webhook_signature.sign(body, secret, sent_at)} if secret else {}


def _headers(letter: Letter) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "Idempotency-Key": header_text(letter.dedup_key),
        "User-Agent": f"ATF/{version('atf')}",
    }
