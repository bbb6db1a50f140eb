"""Who calls by HTTP, as far as a request says it."""

from __future__ import annotations

from starlette.requests import Request

from atf.security.caller import Origin, Stranger


def bearer_token(request: Request) -> str | None:
    """Return the token of a call, None if it has none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def stranger_of(request: Request) -> Stranger:
    """Return who calls as far as the connection says it."""
    return Stranger(Origin.API, request.client.host if request.client else None)
