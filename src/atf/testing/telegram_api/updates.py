"""What happened in the bot's chats, waiting for the bot: given to long polls, kept until confirmed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from atf.testing.telegram_api.calls import Call
from atf.testing.telegram_api.changes import Changes
from atf.testing.telegram_api.refusals import Refusal, bad_request, conflict

_FIRST_ID: Final = 892_252_001
_MOST_AT_ONCE: Final = 100
_LONGEST_POLL: Final = 50
_NOT_UNASKED: Final = frozenset({"chat_member", "message_reaction", "message_reaction_count"})


class UpdateQueue:
    """Updates with rising numbers. ``webhook_url`` is set while they are pushed, empty while they are polled."""

    def __init__(self, changes: Changes) -> None:
        self.pending: deque[dict[str, Any]] = deque()
        self.allowed: frozenset[str] = frozenset()
        self.webhook_url = ""
        self._changes = changes
        self._next_id = _FIRST_ID
        self._poll: asyncio.Future[Refusal] | None = None

    @property
    def is_polled(self) -> bool:
        """Whether a long poll waits."""
        return self._poll is not None

    def put(self, update: Mapping[str, Any]) -> int | None:
        """Add an update and return its number; None for a kind that the bot did not ask for."""
        kind = next((name for name in update if name != "update_id"), "")
        if kind not in self.allowed if self.allowed else kind in _NOT_UNASKED:
            return None
        number: int = update.get("update_id", self._next_id)
        self._next_id = max(self._next_id, number + 1)
        self.pending.append({"update_id": number, **update})
        self._changes.tell()
        return number

    def allow(self, call: Call) -> None:
        """Take ``allowed_updates`` of a call; without it what was said before stays."""
        kinds = call.document("allowed_updates", "allowed updates")
        if isinstance(kinds, list):
            self.allowed = frozenset(kinds)

    def confirm(self, offset: int) -> None:
        """Forget updates before a number; a negative one keeps so many of the newest."""
        if offset < 0:
            while len(self.pending) > -offset:
                self.pending.popleft()
        while offset > 0 and self.pending and self.pending[0]["update_id"] < offset:
            self.pending.popleft()

    def clear(self) -> None:
        """Forget all updates."""
        self.pending.clear()

    async def take(self, call: Call) -> list[dict[str, Any]]:
        """Return the oldest unconfirmed updates, as soon as there are any or the time of the call is over.

        Errors: Refusal (409) while a webhook is set, and as soon as another poll comes.
        """
        if self.webhook_url:
            raise conflict(
                "can't use getUpdates method while webhook is active;"
                " use deleteWebhook to delete the webhook first"
            )
        self.end_poll(
            conflict("terminated by other getUpdates request; make sure that only one bot instance is running")
        )
        self.allow(call)
        self.confirm(call.integer("offset"))
        limit = min(max(call.integer("limit", _MOST_AT_ONCE), 1), _MOST_AT_ONCE)
        timeout = min(max(call.integer("timeout"), 0), _LONGEST_POLL)
        if not self.pending and timeout:
            await self._wait(timeout)
        return list(self.pending)[:limit]

    def end_poll(self, refusal: Refusal) -> None:
        """Refuse the poll that waits, if one does."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(refusal)

    async def _wait(self, longest: float) -> None:
        poll: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        self._poll = poll
        self._changes.tell()
        arrival = asyncio.ensure_future(self._changes.until_true(lambda: bool(self.pending)))
        awaited: list[asyncio.Future[Any]] = [poll, arrival]
        try:
            await asyncio.wait(awaited, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrival.cancel()
            if self._poll is poll:
                self._poll = None
        if poll.done():
            raise poll.result()


def check_secret(secret: str) -> None:
    """Refuse a secret token that no header may carry. Errors: Refusal (400)."""
    if len(secret) > 256:
        raise bad_request("secret token is too long")
    if not all(char.isascii() and (char.isalnum() or char in "-_") for char in secret):
        raise bad_request("secret token contains unallowed characters")
