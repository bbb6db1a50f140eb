"""BodyWall: bodies up to a size, counted as they come, whatever their header says."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atf.services.http.problems import problem


class _TooLarge(Exception):
    """Breaks off whoever reads; what an application answers to that is not what is sent."""


_MOST_DIGITS: Final = 15


class BodyWall:
    """Answers larger bodies with 413 and hangs up, without keeping what has come."""

    def __init__(self, app: ASGIApp, *, largest: int) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if self._says_too_large(scope):
            return await self._refuse(scope, receive, send)
        received, has_begun = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._largest:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal has_begun
            if received > self._largest and not has_begun:
                raise _TooLarge
            has_begun = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except _TooLarge:
            if not has_begun:
                await self._refuse(scope, receive, send)

    def _says_too_large(self, scope: Scope) -> bool:
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        return any(not self._is_fine(value) for value in lengths)

    def _is_fine(self, length: bytes) -> bool:
        return length.isdigit() and len(length) <= _MOST_DIGITS and int(length) <= self._largest

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = problem(413, f"the body is larger than {self._largest} bytes", {"Connection": "close"})
        await refusal(scope, receive, send)
