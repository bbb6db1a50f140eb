"""What goes wrong between a bot and a venue, as the local venue does it on request."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from aiohttp import web

from atf.trading.broker import VenueEvent

_PAGE: Final = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n"


class VenueFault(StrEnum):
    """One way not to answer as promised; where it says accepted, the request has had its effect."""

    THROTTLED = "429 with Retry-After"
    REFUSED = "422: it is refused, and not remembered"
    UNKNOWN = "404, whatever it was asked for"
    BROKEN = "500"
    BAD_GATEWAY = "502 with a page of HTML"
    MAINTENANCE = "503"
    SILENT = "takes the request, does nothing and never answers"
    CUT = "takes the request, does nothing and hangs up"
    ACCEPTED_THEN_BROKEN = "accepted, and answered by a 500"
    ACCEPTED_THEN_BAD_GATEWAY = "accepted, and answered by a 502 with a page of HTML"
    ACCEPTED_THEN_SILENT = "accepted, and never answered"
    ACCEPTED_THEN_CUT = "accepted, then hangs up"
    STALLED = "accepted; sends half of the answer and then nothing"
    TRUNCATED = "accepted; sends half of the document as if it were all"
    WRONG_SHAPE = "accepted; 200 with a document of another shape"
    HTML = "accepted; 200 with a page of HTML"
    SLOW = "accepted at once, and answered late"
    DUPLICATED = "events come twice"
    REVERSED = "events come in reverse order"
    DROPPED = "events never come"


BEFORE_ACCEPTANCE: Final = frozenset(
    {
        VenueFault.THROTTLED,
        VenueFault.REFUSED,
        VenueFault.UNKNOWN,
        VenueFault.BROKEN,
        VenueFault.BAD_GATEWAY,
        VenueFault.MAINTENANCE,
        VenueFault.SILENT,
        VenueFault.CUT,
    }
)
"""Those that keep a request from having its effect."""
OF_EVENTS: Final = frozenset({VenueFault.DUPLICATED, VenueFault.REVERSED, VenueFault.DROPPED})
"""Those of what is pushed, however it is asked for."""

_STATUSES: Final[dict[VenueFault, tuple[int, Any]]] = {
    VenueFault.THROTTLED: (429, {"error": "too many requests"}),
    VenueFault.REFUSED: (422, {"error": "refused, as it was told to"}),
    VenueFault.UNKNOWN: (404, {"error": "not known"}),
    VenueFault.BROKEN: (500, {"error": "internal error"}),
    VenueFault.BAD_GATEWAY: (502, _PAGE),
    VenueFault.MAINTENANCE: (503, {"error": "maintenance"}),
    VenueFault.ACCEPTED_THEN_BROKEN: (500, {"error": "internal error"}),
    VenueFault.ACCEPTED_THEN_BAD_GATEWAY: (502, _PAGE),
    VenueFault.HTML: (200, _PAGE),
    VenueFault.WRONG_SHAPE: (200, {"result": [7]}),
}


@dataclass(slots=True)
class VenueMisbehaviour:
    """A fault for so many requests, or for all; ``delay`` of an answer that is late."""

    fault: VenueFault
    times: int | None
    delay: timedelta


async def answer_wrongly(
    wrong: VenueMisbehaviour, request: web.Request, *, status: int, document: Any, released: asyncio.Event
) -> web.StreamResponse:
    """Answer a request wrongly; ``status`` and ``document`` are what the right answer would be.

    Time: a fault that leaves the client waiting does so until ``released`` is set.
    """
    fault = wrong.fault
    if fault in _STATUSES:
        return _with_status(fault)
    if fault is VenueFault.SLOW:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(released.wait(), wrong.delay.total_seconds())
        return web.json_response(document, status=status)
    if fault in {VenueFault.SILENT, VenueFault.ACCEPTED_THEN_SILENT}:
        await released.wait()
        return hang_up(request)
    if fault in {VenueFault.CUT, VenueFault.ACCEPTED_THEN_CUT}:
        return hang_up(request)
    half = json.dumps(document).encode()
    half = half[: len(half) // 2]
    if fault is VenueFault.TRUNCATED:
        return web.Response(body=half, content_type="application/json")
    return await _half_an_answer(request, half, released)


def events_as_told(fault: VenueFault | None, events: Sequence[VenueEvent]) -> Sequence[VenueEvent]:
    """Return what is pushed of events that come together."""
    if fault is VenueFault.DROPPED:
        return []
    if fault is VenueFault.REVERSED:
        return list(reversed(events))
    return [event for event in events for _ in range(1 + (fault is VenueFault.DUPLICATED))]


def hang_up(request: web.Request) -> web.Response:
    """Break a connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)  # goes nowhere


def _with_status(fault: VenueFault) -> web.Response:
    status, body = _STATUSES[fault]
    if isinstance(body, str):
        return web.Response(status=status, text=body, content_type="text/html")
    headers = {"Retry-After": "7"} if status in {429, 503} else {}
    return web.json_response(body, status=status, headers=headers)


async def _half_an_answer(request: web.Request, half: bytes, released: asyncio.Event) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(2 * len(half) + 2)})
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(half)
    await released.wait()
    hang_up(request)
    return response
