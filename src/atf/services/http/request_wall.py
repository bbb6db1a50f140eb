"""RequestWall: what is refused before an application sees it. Applications that only tell take no bodies."""

from __future__ import annotations

from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_NO_BODY: Final = (b"", b"0")


class RequestWall:
    """Answers requests that bring a body with 413 and hangs up, without reading it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "http" and _has_body(scope):
            refusal = PlainTextResponse("no request with a body is taken here\n", 413, {"Connection": "close"})
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _has_body(scope: Scope) -> bool:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() not in _NO_BODY)
        for name, value in headers
    )
