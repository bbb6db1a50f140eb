"""What goes wrong between a client and an exchange, as the local exchange does it on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from aiohttp import web

from atf.testing.exchange_payloads import (
    BROKEN,
    HTML_PAGE,
    MAINTENANCE,
    THROTTLED,
    UNKNOWN_SYMBOL,
    Row,
)


class Fault(StrEnum):
    """One way not to answer as promised."""

    THROTTLED = "429 with Retry-After"
    BANNED = "418 with Retry-After"
    BROKEN = "500 with Binance's message"
    BAD_GATEWAY = "502 with a page of HTML"
    MAINTENANCE = "503 with Binance's message"
    SILENT = "takes the request and never answers"
    STALLED = "sends half of the answer and then nothing"
    CUT = "sends half of the answer and hangs up"
    TRUNCATED = "sends half of the document as if it were all"
    HTML = "200 with a page of HTML"
    UNKNOWN_SYMBOL = "400, code -1121"
    WRONG_SHAPE = "200 with a document of another shape"
    EMPTY = "200 with no bars"
    DUPLICATES = "every bar twice, the first time with other values"
    DISORDER = "bars in reverse order"
    FUTURE = "one bar more, which opens in the future"


ROW_FAULTS: Final = frozenset({Fault.EMPTY, Fault.DUPLICATES, Fault.DISORDER, Fault.FUTURE})
"""Those that answer politely, with bars that are wrong."""

_STATUSES: Final[dict[Fault, tuple[int, Any]]] = {
    Fault.THROTTLED: (429, THROTTLED),
    Fault.BANNED: (418, THROTTLED),
    Fault.BROKEN: (500, BROKEN),
    Fault.BAD_GATEWAY: (502, HTML_PAGE),
    Fault.MAINTENANCE: (503, MAINTENANCE),
    Fault.HTML: (200, HTML_PAGE),
    Fault.UNKNOWN_SYMBOL: (400, UNKNOWN_SYMBOL),
    Fault.WRONG_SHAPE: (200, {"result": {"code": "0", "rows": 7}}),
}


async def misbehave(
    fault: Fault, request: web.Request, *, document: Any, retry_after: str, released: asyncio.Event
) -> web.StreamResponse:
    """Answer a request wrongly; ``document`` is what the right answer would hold.

    Time: a fault that leaves the client waiting does so until ``released`` is set.
    """
    if fault in _STATUSES:
        return _with_status(fault, retry_after)
    if fault is Fault.SILENT:
        await released.wait()
        return web.Response(status=503)
    half = _half(document)
    if fault is Fault.TRUNCATED:
        return web.Response(body=half, content_type="application/json")
    return await _half_an_answer(request, half, released if fault is Fault.STALLED else None)


def wrong_rows(fault: Fault, rows: list[Row], length: int) -> list[Row]:
    """Return rows of bars with one of ``ROW_FAULTS``; ``length`` is that of a bar in milliseconds."""
    return _ROW_CHANGES[fault](rows, length)


def _with_status(fault: Fault, retry_after: str) -> web.Response:
    status, body = _STATUSES[fault]
    headers = {"Retry-After": retry_after} if status in {418, 429, 503} else {}
    if isinstance(body, str):
        return web.Response(status=status, text=body, content_type="text/html", headers=headers)
    return web.json_response(body, status=status, headers=headers)


def _half(document: Any) -> bytes:
    whole = json.dumps(document).encode()
    return whole[: len(whole) // 2]


async def _half_an_answer(
    request: web.Request, half: bytes, released: asyncio.Event | None
) -> web.StreamResponse:
    """Announce twice as much as is sent, then wait or hang up."""
    response = web.StreamResponse(headers={"Content-Length": str(2 * len(half) + 2)})
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(half)
    if released is not None:
        await released.wait()
    if request.transport is not None:
        request.transport.abort()
    return response


def _twice(rows: list[Row], _length: int) -> list[Row]:
    return [each for row in rows for each in ([row[0], "1.0", "1.0", "1.0", "1.0", "1.0", *row[6:]], row)]


def _with_a_future_one(rows: list[Row], length: int) -> list[Row]:
    newest = rows[-1]
    return [*rows, [newest[0] + 10 * length, *newest[1:6], newest[6] + 10 * length, *newest[7:]]]


_ROW_CHANGES: Final[dict[Fault, Callable[[list[Row], int], list[Row]]]] = {
    Fault.EMPTY: lambda _rows, _length: [],
    Fault.DUPLICATES: _twice,
    Fault.DISORDER: lambda rows, _length: rows[::-1],
    Fault.FUTURE: _with_a_future_one,
}
