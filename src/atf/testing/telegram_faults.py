"""What goes wrong between a bot and Telegram, as the local one does it on request."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from aiohttp import web

from atf.testing.telegram_api.refusals import too_many_requests

HTML_PAGE: Final = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class Fault(StrEnum):
    """One way not to answer as promised; where it says accepted, the call has had its effect."""

    THROTTLED = "429 with retry_after"
    BROKEN = "500 with Telegram's message"
    BAD_GATEWAY = "502 with a page of HTML"
    GATEWAY_TIMEOUT = "504 with Telegram's message"
    SILENT = "takes the request, does nothing and never answers"
    CUT = "takes the request, does nothing and hangs up"
    ACCEPTED_THEN_SILENT = "accepted, and never answered"
    ACCEPTED_THEN_CUT = "accepted, then hangs up"
    ACCEPTED_THEN_BAD_GATEWAY = "accepted, and answered by a 502 with a page of HTML"
    STALLED = "accepted; sends half of the answer and then nothing"
    TRUNCATED = "accepted; sends half of the document as if it were all"
    WRONG_SHAPE = "accepted; 200 with a document of another shape"
    HTML = "accepted; 200 with a page of HTML"
    SLOW = "accepted at once, and answered late"


BEFORE_ACCEPTANCE: Final = frozenset(
    {Fault.THROTTLED, Fault.BROKEN, Fault.BAD_GATEWAY, Fault.GATEWAY_TIMEOUT, Fault.SILENT, Fault.CUT}
)
"""Those that keep a call from having its effect."""

_STATUSES: Final[dict[Fault, tuple[int, Any]]] = {
    Fault.BROKEN: (500, {"ok": False, "error_code": 500, "description": "Internal Server Error"}),
    Fault.BAD_GATEWAY: (502, HTML_PAGE),
    Fault.ACCEPTED_THEN_BAD_GATEWAY: (502, HTML_PAGE),
    Fault.GATEWAY_TIMEOUT: (504, {"ok": False, "error_code": 504, "description": "Gateway Timeout"}),
    Fault.HTML: (200, HTML_PAGE),
    Fault.WRONG_SHAPE: (200, {"ok": True, "result": {"code": "0", "rows": [7]}}),
}


@dataclass(slots=True, eq=False)
class Misbehaviour:
    """A fault with what it concerns: a method or all, a chat or all, so many requests or all."""

    fault: Fault
    method: str | None
    chat_id: int | None
    times: int | None
    retry_after: int
    delay: timedelta

    def concerns(self, method: str, chat_id: str) -> bool:
        """Tell whether a request is one of those."""
        is_method = self.method is None or self.method.lower() == method.lower()
        return is_method and (self.chat_id is None or str(self.chat_id) == chat_id)


async def misbehave(
    wrong: Misbehaviour, request: web.Request, *, status: int, document: Any, released: asyncio.Event
) -> web.StreamResponse:
    """Answer a request wrongly; ``status`` and ``document`` are what the right answer would be.

    Time: a fault that leaves the client waiting does so until ``released`` is set.
    """
    fault = wrong.fault
    if fault is Fault.THROTTLED:
        refusal = too_many_requests(wrong.retry_after)
        return web.json_response(refusal.document, status=429, headers={"Retry-After": str(wrong.retry_after)})
    if fault in _STATUSES:
        return _with_status(*_STATUSES[fault])
    if fault is Fault.SLOW:
        await _wait(released, wrong.delay)
        return web.json_response(document, status=status)
    if fault in {Fault.SILENT, Fault.ACCEPTED_THEN_SILENT}:
        await released.wait()
        return _hung_up(request)
    if fault in {Fault.CUT, Fault.ACCEPTED_THEN_CUT}:
        return _hung_up(request)
    half = _half(document)
    if fault is Fault.TRUNCATED:
        return web.Response(body=half, content_type="application/json")
    return await _half_an_answer(request, half, released)


async def _wait(released: asyncio.Event, delay: timedelta) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(released.wait(), delay.total_seconds())


def _with_status(status: int, body: Any) -> web.Response:
    if isinstance(body, str):
        return web.Response(status=status, text=body, content_type="text/html")
    return web.json_response(body, status=status)


def _hung_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)  # goes nowhere


def _half(document: Any) -> bytes:
    whole = json.dumps(document).encode()
    return whole[: len(whole) // 2]


async def _half_an_answer(request: web.Request, half: bytes, released: asyncio.Event) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(2 * len(half) + 2)})
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(half)
    await released.wait()
    _hung_up(request)
    return response
