"""The webhook: where Telegram pushes updates, and how it proves that it is Telegram."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from atf.errors import Unauthenticated

PATH: Final = "/telegram/webhook"
_HEADER: Final = "x-telegram-bot-api-secret-token"


@dataclass(frozen=True, slots=True)
class Webhook:
    """The public address that Telegram pushes to, and the secret that it sends along."""

    url: str
    secret: str = field(repr=False)

    @classmethod
    def of(cls, public_url: str, token: str) -> Webhook:
        """Return the webhook of a bot; its secret follows from the token, and does not tell it."""
        secret = hmac.new(token.encode(), b"atf telegram webhook", sha256).hexdigest()
        return cls(public_url.rstrip("/") + PATH, secret)


def add_webhook_route(app: FastAPI, webhook: Webhook, take: Callable[[Any], Awaitable[None]]) -> None:
    """Let an application take what Telegram pushes; whoever has not the secret is refused."""

    async def pushed(request: Request) -> Response:
        given = request.headers.get(_HEADER, "")
        if not hmac.compare_digest(given.encode(), webhook.secret.encode()):
            raise Unauthenticated("only Telegram may push updates here")
        await take(await request.json())
        return JSONResponse({"ok": True})

    app.add_api_route(PATH, pushed, methods=["POST"], include_in_schema=False)
