"""HttpTransport: messages handed over by ``POST /api/notify``."""

from __future__ import annotations

import base64
from typing import Any, Final
from uuid import UUID

import httpx

from atf.errors import (
    AtfError,
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

        Errors: those that the service answers; TemporaryFailure if it cannot be reached or is not available.
        """
        try:
            response = await self._client.post(self._endpoint, json=_document(new))
        except (httpx.HTTPError, OSError) as exc:
            raise TemporaryFailure(
                f"the notification service at {self._endpoint} cannot be reached: {type(exc).__name__}"
            ) from exc
        if response.status_code == httpx.codes.OK:
            answer = response.json()
            return Receipt(UUID(answer["message_id"]), is_new=not answer["duplicate"])
        raise _refusal(response)

    async def close(self) -> None:
        """Give back the connections."""
        await self._client.aclose()


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
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the notification service answered {response.status_code}"
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or response.status_code == 429:
        after = response.headers.get("retry-after", "")
        return TemporaryFailure(detail, retry_after_seconds=float(after) if after.isdigit() else None)
    return _REFUSALS.get(response.status_code, PermanentFailure)(detail)
