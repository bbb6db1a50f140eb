"""A local Yahoo: answers as charts and summaries do, in threads on 127.0.0.1, and misbehaves when told to.

Summaries want a cookie and the crumb that belongs to it, as Yahoo's do; charts do without. ``yahoo_redirection``
leads yfinance here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from atf.market.bars import COLUMNS, Bars
from atf.testing.yahoo_payloads import (
    INVALID_COOKIE,
    INVALID_CRUMB,
    NO_BARS,
    NOT_FOUND,
    NOT_QUOTED,
    RowChange,
    SymbolFacts,
    chart,
    rows_of,
    summary,
)
from atf.testing.yahoo_redirection import redirected

CHART: Final = "/v8/finance/chart/"
SUMMARY: Final = "/v10/finance/quoteSummary/"
CRUMB: Final = "/v1/test/getcrumb"
COOKIE: Final = "//fc.yahoo.com/"
"""What gives cookies, with the host as it has no path of its own."""
_HTML: Final = b"<!DOCTYPE html><html><body>Our engineers are working quickly.</body></html>"


class Fault(StrEnum):
    """One way not to answer as promised."""

    THROTTLED = "429 with Retry-After"
    BROKEN = "500 with a JSON error"
    BAD_GATEWAY = "502 with a page of HTML"
    MAINTENANCE = "503 with a page of HTML"
    SILENT = "takes the request and never answers"
    STALLED = "sends half of the answer and then nothing"
    CUT = "sends half of the answer and hangs up"
    TRUNCATED = "sends half of the document as if it were all"
    HTML = "200 with a page of HTML"
    WRONG_SHAPE = "200 with a document of another shape"
    UNAUTHORIZED = "401 with a JSON error"
    EMPTY = "200 with no bars, or no modules"
    WRONG_SYMBOL = "200 with the bars or modules of another symbol"
    DUPLICATES = "every bar twice"
    DISORDER = "bars in reverse order"
    FUTURE = "one bar more, which opens in the future"
    NULLS = "one bar more, of nulls"


_ROW_CHANGES: Final[Mapping[Fault, RowChange]] = {
    Fault.DUPLICATES: lambda rows: [each for row in rows for each in (row, row)],
    Fault.DISORDER: lambda rows: rows[::-1],
    Fault.FUTURE: lambda rows: [*rows, (rows[-1][0] + 7 * 86_400, *rows[-1][1:])],
    Fault.NULLS: lambda rows: [(rows[0][0] - 86_400, *[None] * len(COLUMNS)), *rows],
}
_STATUSES: Final[Mapping[Fault, tuple[int, bytes]]] = {
    Fault.THROTTLED: (429, b"Edge: Too Many Requests"),
    Fault.BROKEN: (500, b'{"chart":{"result":null,"error":{"code":"Internal Server Error","description":""}}}'),
    Fault.BAD_GATEWAY: (502, _HTML),
    Fault.MAINTENANCE: (503, _HTML),
    Fault.HTML: (200, _HTML),
    Fault.WRONG_SHAPE: (200, b'{"chart": [7]}'),
    Fault.UNAUTHORIZED: (401, b'{"finance":{"result":null,"error":{"code":"Unauthorized","description":"x"}}}'),
}


@dataclass(frozen=True, slots=True)
class _Held:
    facts: SymbolFacts
    bars: Mapping[str, Bars]


class LocalYahoo:
    """Bars by symbol and interval, in Yahoo's spellings, and a clock that stands where it is put.

    ``now``: the Date of its answers; bars that open later do not exist yet. ``traded_at``: the newest trade,
    now if not set. ``questions``: the queries about charts, oldest first. ``documents``: answers by symbol, such
    as recorded ones, in place of its own; ``events``: splits and dividends by symbol. ``fault`` concerns charts
    of a stretch of time alone, not the question for a symbol's zone.

    ``summaries``: modules with their fields by symbol; ``summary_fault`` and ``crumb_fault`` concern these and
    the question for a crumb; ``paths``: all that was asked for, oldest first.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.traded_at: datetime | None = None
        self.questions: list[dict[str, str]] = []
        self.documents: dict[str, Any] = {}
        self.events: dict[str, Any] = {}
        self.fault: Fault | None = None
        self.summaries: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self.summary_fault: Fault | None = None
        self.crumb_fault: Fault | None = None
        self.paths: list[str] = []
        self.retry_after = "7"
        self.released = threading.Event()
        self.asked = threading.Event()
        self._held: dict[str, _Held] = {}
        self._cookies = count(1)
        self._oldest_cookie = 1
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self._port}"

    def hold(self, facts: SymbolFacts, interval: str, bars: Bars) -> None:
        """Have bars of a symbol."""
        others = self._held[facts.symbol].bars if facts.symbol in self._held else {}
        self._held[facts.symbol] = _Held(facts, {**others, interval: bars})

    def answer(self, symbol: str, query: Mapping[str, str]) -> tuple[int, Any]:
        """Return the status and the document for a question about a chart."""
        if symbol in self.documents:
            return 200, self.documents[symbol]
        held = self._held.get(symbol)
        if held is None or ("period1" in query and query["interval"] not in held.bars):
            return 404, NOT_FOUND
        if query.get("range") == "5d" and query["interval"] not in held.bars:
            return 404, NOT_FOUND
        facts = held.facts
        if self.fault is Fault.WRONG_SYMBOL and _is_about_bars(query):
            facts = replace(facts, symbol="MSFT")
        rows = self._rows(held, query)
        if not rows and "period1" in query and self.fault is not Fault.EMPTY:
            return 400, NO_BARS
        return 200, chart(facts, rows, query["interval"], self.traded_at or self.now, self.events.get(symbol))

    def new_cookie(self) -> str:
        """Return a cookie that nobody has."""
        return f"d=AQABB{next(self._cookies)}"

    def forget_cookies(self) -> None:
        """Take no cookie any more that was given until now, nor a crumb of it."""
        self._oldest_cookie = next(self._cookies) + 1

    def crumb(self, cookie: str | None) -> str | None:
        """Return what belongs to a cookie, None to one that it does not take."""
        number = (cookie or "").removeprefix("d=AQABB")
        return f"a/B.c{number}" if number.isdecimal() and int(number) >= self._oldest_cookie else None

    def summary_answer(
        self, symbol: str, query: Mapping[str, str], cookie: str | None
    ) -> tuple[int, Mapping[str, Any]]:
        """Return the status and the document for a question about modules of a symbol."""
        crumb = self.crumb(cookie)
        if crumb is None or query.get("crumb") != crumb:
            return 401, INVALID_CRUMB if crumb is not None else INVALID_COOKIE
        if symbol not in self.summaries:
            return 404, NOT_QUOTED
        if self.summary_fault is Fault.EMPTY:
            return 200, {"quoteSummary": {"result": [], "error": None}}
        named = "MSFT" if self.summary_fault is Fault.WRONG_SYMBOL else symbol
        return 200, summary(named, self.summaries[symbol], query)

    def _rows(self, held: _Held, query: Mapping[str, str]) -> list[Any]:
        bars = held.bars.get(query["interval"], Bars.empty())
        rows = rows_of(bars, held.facts, query["interval"])
        first, end = int(query.get("period1", 0)), int(query.get("period2", self.now.timestamp() + 1))
        rows = [row for row in rows if first <= row[0] < end and row[0] <= self.now.timestamp()]
        if not _is_about_bars(query) or self.fault is None:
            return rows
        if self.fault is Fault.EMPTY:
            return []
        return _ROW_CHANGES[self.fault](rows) if self.fault in _ROW_CHANGES and rows else rows


def _is_about_bars(query: Mapping[str, str]) -> bool:
    return "period1" in query or query.get("range") == "5d"


class _Handler(BaseHTTPRequestHandler):
    yahoo: LocalYahoo
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        host = self.headers.get("Host", "").partition(":")[0]
        self.yahoo.paths.append(asked.path if "finance" in host else f"//{host}{asked.path}")
        if asked.path.startswith(CHART):
            self._chart(unquote(asked.path.removeprefix(CHART)), query)
        elif asked.path.startswith(SUMMARY):
            symbol = unquote(asked.path.removeprefix(SUMMARY))
            self._answer(self.yahoo.summary_fault, *self.yahoo.summary_answer(symbol, query, self._cookie()))
        elif asked.path == CRUMB:
            self._crumb()
        elif self.yahoo.paths[-1] == COOKIE and self.yahoo.crumb(self._cookie()) is None:
            # The page is not there, but it brings a cookie to who has none.
            self._send(404, _HTML, cookie=self.yahoo.new_cookie())
        else:
            self._send(404, _HTML)

    def _chart(self, symbol: str, query: Mapping[str, str]) -> None:
        self.yahoo.questions.append({"symbol": symbol, **query})
        self._answer(self.yahoo.fault if _is_about_bars(query) else None, *self.yahoo.answer(symbol, query))

    def _crumb(self) -> None:
        crumb = self.yahoo.crumb(self._cookie())
        if self.yahoo.crumb_fault is not None and self._misbehave(self.yahoo.crumb_fault, b"{}"):
            return
        if crumb is None:
            self._send(401, json.dumps(INVALID_COOKIE).encode())
        else:
            self._send(200, crumb.encode())

    def _cookie(self) -> str | None:
        found = SimpleCookie(self.headers.get("Cookie", "")).get("A3")
        return None if found is None else found.value

    def _answer(self, fault: Fault | None, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        if fault is None or not self._misbehave(fault, body):
            self._send(status, body)

    def _misbehave(self, fault: Fault, body: bytes) -> bool:
        """Answer wrongly, and tell whether the fault is one of the answer's form."""
        self.yahoo.asked.set()
        if fault in _STATUSES:
            self._send(*_STATUSES[fault])
        elif fault is Fault.TRUNCATED:
            self._send(200, body[: len(body) // 2])
        elif fault is Fault.SILENT:
            self._wait()
        elif fault in {Fault.STALLED, Fault.CUT}:
            self._send(200, body[: len(body) // 2], length=len(body))
            if fault is Fault.STALLED:
                self._wait()
        else:
            return False
        return True

    def _wait(self) -> None:
        self.yahoo.released.wait()
        self.close_connection = True

    def _send(self, status: int, body: bytes, *, length: int | None = None, cookie: str = "") -> None:
        self.send_response_only(status)
        self.send_header("Date", format_datetime(self.yahoo.now, usegmt=True))
        self.send_header("Content-Type", "text/html" if body.startswith(b"<") else "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if status == 429:
            self.send_header("Retry-After", self.yahoo.retry_after)
        if cookie:
            self.send_header("Set-Cookie", f"A3={cookie}; Max-Age=31557600; Domain=.yahoo.com; Path=/; HttpOnly")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = length is not None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server has
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""


@contextmanager
def local_yahoo(now: datetime) -> Iterator[LocalYahoo]:
    """Run a local Yahoo, with yfinance led to it, until the block ends."""
    yahoo = LocalYahoo(now.astimezone(UTC))
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"yahoo": yahoo}))
    yahoo._port = server.server_address[1]  # noqa: SLF001 - the same module
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        with redirected(yahoo.url):
            yield yahoo
    finally:
        yahoo.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
