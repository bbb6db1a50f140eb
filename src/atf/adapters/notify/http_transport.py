"""HttpTransport: messages handed over by ``POST /api/notify``."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import httpx

from atf.errors import (
    AtfError,
    ConfigurationError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PermanentFailure,
    TemporaryFailure,
    Unauthenticated,
)
from atf.notifications.intake import NewNotification, Receipt

_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_REFUSALS: Final[dict[int, type[AtfError]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: InvalidInput,
}


class HttpTransport:
    """Keeps connections to one notification service; the token is in no text."""

    def __init__(self, endpoint: str, token: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Errors: ConfigurationError if the token cannot be one."""
        if not token.strip() or not token.isascii() or not token.isprintable():
            raise ConfigurationError("ATF_NOTIFICATION_TOKEN: is no token; `atf tokens add` makes one")
        self._endpoint = endpoint
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT,
            headers={"Authorization": f"Bearer {token}"},
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def take(self, new: NewNotification) -> Receipt:
        """Hand a message over and return when it is stored.

        Errors: those that the service answers; TemporaryFailure if it cannot be reached, is not available, or
        says nothing that can be read: whether the message is stored is not known then.
        """
        try:
            response = await self._client.post(self._endpoint, json=_document(new))
        except (httpx.HTTPError, OSError) as exc:
            raise TemporaryFailure(
                f"the notification service at {self._endpoint} cannot be reached: {type(exc).__name__}"
            ) from exc
        if response.status_code == httpx.codes.OK:
            return self._receipt(response)
        raise _refusal(response)

    async def close(self) -> None:
        """Give back the connections."""
        await self._client.aclose()

    def _receipt(self, response: httpx.Response) -> Receipt:
        match _said(response):
            case {"message_id": str(message_id), "duplicate": bool(is_known)}:
                with suppress(ValueError):
                    return Receipt(UUID(message_id), is_new=not is_known)
        raise TemporaryFailure(f"what answers at {self._endpoint} does not speak as a notification service")


def _document(new: NewNotification) -> dict[str, Any]:
    return {
        "user_id": new.user_id,
        "message": new.message,
        "priority": new.priority,
        "notification_type": new.notification_type,
        "title": new.title,
        "channels": list(new.channels),
        "dedup_key": new.dedup_key,
        "scheduled_for": None if new.scheduled_for is None else new.scheduled_for.isoformat(),
        "attachments": [
            {
                "name": one.name,
                "media_type": one.media_type,
                "content": base64.b64encode(one.content).decode(),
            }
            for one in new.attachments
        ],
    }


def _refusal(response: httpx.Response) -> AtfError:
    match _said(response):
        case {"detail": str(detail)}:
            pass
        case _:
            detail = f"the notification service answered {response.status_code}"
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or response.status_code == 429:
        after = response.headers.get("retry-after", "")
        waits = after.isascii() and after.isdecimal()
        return TemporaryFailure(detail, retry_after_seconds=float(after) if waits else None)
    return _REFUSALS.get(response.status_code, PermanentFailure)(detail)


def _said(response: httpx.Response) -> Any:
    """Return what an answer says, None if it is no JSON, such as a page of a gateway."""
    with suppress(ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return response.json()
    return None
