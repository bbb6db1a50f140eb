"""How Telegram says no: a code, a sentence, and at times parameters that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """An answer that is not ok; ``parameters`` are ``retry_after`` (seconds) or ``migrate_to_chat_id``."""

    def __init__(self, code: int, description: str, parameters: Mapping[str, int] | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters

    @property
    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        body: dict[str, Any] = {"ok": False, "error_code": self.code, "description": self.description}
        return body if self.parameters is None else {**body, "parameters": dict(self.parameters)}


def bad_request(reason: str) -> Refusal:
    """Return a 400; sentences begin in small letters, words of the server (``BUTTON_DATA_INVALID``) stay."""
    is_server_word = len(reason) > 1 and (reason[1] == "_" or "A" <= reason[1] <= "Z")
    return Refusal(400, f"Bad Request: {reason if is_server_word else reason[0].lower() + reason[1:]}")


def forbidden(reason: str) -> Refusal:
    """Return a 403."""
    return Refusal(403, f"Forbidden: {reason}")


def conflict(reason: str) -> Refusal:
    """Return a 409: somebody else takes the updates."""
    return Refusal(409, f"Conflict: {reason}")


def too_many_requests(seconds: int) -> Refusal:
    """Return a 429 that asks to wait so many whole seconds."""
    return Refusal(429, f"Too Many Requests: retry after {seconds}", {"retry_after": seconds})


def unauthorized() -> Refusal:
    """Return the answer to a token that is not, or no longer, a bot's."""
    return Refusal(401, "Unauthorized")
