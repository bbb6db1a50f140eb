"""Channel ``webhook``: a trigger is sent as JSON to a URL of the user's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from importlib.metadata import version

from atf.adapters.channels.action_delivery import part, require_in_time
from atf.clock import Clock
from atf.notifications.message import Delivery
from atf.security.outgoing_address import OutgoingAddresses


class WebhookChannel:
    """Sends each delivery as one POST, with its dedup key as ``Idempotency-Key``.

    ``allowed``: where it may go; to public addresses alone unless it says otherwise.
    """

    name = "webhook"
    is_idempotent = False
    disturbs = False

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

    async def send(self, delivery: Delivery) -> str | None:
        """POST the trigger. Errors: those of ``webhook_request.post``; PermanentFailure if it is late."""
        require_in_time(delivery, self._clock)
        url = part(delivery, "url", str)
        body = json.dumps(part(delivery, "body", dict), allow_nan=False).encode()
        post = await asyncio.to_thread(_load)
        await post(url, body, _headers(delivery), self._timeout, self._allowed)
        return None


def _load() -> Callable[[str, bytes, Mapping[str, str], timedelta, OutgoingAddresses], Awaitable[None]]:
    """Load the HTTP client with the first webhook: it takes long, and few installations have one."""
    from atf.adapters.channels.webhook_request import post

    return post


def _headers(delivery: Delivery) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "Idempotency-Key": delivery.dedup_key,
        "User-Agent": f"ATF/{version('atf')}",
    }
