"""What Yahoo's answers must be before the library yfinance may read them.

yfinance looks at no status but 429 and takes much for an answer; a session of ours between it and the network
sees the whole answer: status, headers and body.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from atf.adapters.providers.yahoo_range import AnswerTimes
from atf.errors import NotFound, TemporaryFailure

SUMMARY: Final = "/v10/finance/quoteSummary/"
_CHART: Final = "/v8/finance/chart/"
_CRUMB: Final = "/v1/test/getcrumb"
_WANTS_COOKIE: Final = frozenset({401, 403})
_NOTHING_THERE: Final = ("data doesn't exist", "not available", "must be within")
"""Yahoo's words for a stretch of time without bars; the symbol is known."""


REFUSED: Final = AnswerTimes()
"""What is noted of an answer that wanted another cookie."""


class AnswerNotes:
    """What the last answers to this thread said: a chart about time, and why there was no crumb."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def note(self, times: AnswerTimes) -> None:
        """Keep what an answer said."""
        self._of_thread.times = times

    def last(self) -> AnswerTimes:
        """Return what was noted last in this thread."""
        times: AnswerTimes = getattr(self._of_thread, "times", AnswerTimes())
        return times

    def note_no_crumb(self, reason: TemporaryFailure | None) -> None:
        """Keep why Yahoo gave no crumb; None if it did."""
        self._of_thread.no_crumb = reason

    def no_crumb(self) -> TemporaryFailure | None:
        """Return why the last crumb that this thread asked for was not given."""
        reason: TemporaryFailure | None = getattr(self._of_thread, "no_crumb", None)
        return reason


def open_session(timeout_seconds: float, notes: AnswerNotes) -> Any:
    """Return a session for yfinance that refuses what is no answer, and notes the times of what is one.

    Its requests raise TemporaryFailure and NotFound besides what curl raises. Errors: ImportError.
    """
    from curl_cffi import requests

    untyped: Any = requests.Session

    class CheckedSession(untyped):  # type: ignore[misc]
        def request(self, method: str, url: str, **options: Any) -> Any:
            options["timeout"] = timeout_seconds  # yfinance has times of its own for some requests
            response = super().request(method, url, **options)
            path = urlsplit(url).path
            if path.startswith(_CHART):
                notes.note(_checked(unquote(path.removeprefix(_CHART)), response))
            elif path == _CRUMB:
                notes.note_no_crumb(_refusal(response))
            elif path.startswith(SUMMARY):
                _require_answer(unquote(path.removeprefix(SUMMARY)), response)
            return response

    return CheckedSession(impersonate="chrome")


def _checked(symbol: str, response: Any) -> AnswerTimes:
    _raise_if_any(_refusal(response))
    if response.status_code in _WANTS_COOKIE:
        return REFUSED  # yfinance asks again with another cookie
    chart = _document(response, "chart")
    _refuse_error(symbol, chart.get("error"))
    result = chart.get("result")
    if not result:
        return AnswerTimes(answered_at=_date(response))
    return _times(symbol, result[0], _date(response))


def _require_answer(symbol: str, response: Any) -> None:
    """Refuse what is no answer of ``SUMMARY`` before yfinance takes it for one that wants another cookie."""
    _raise_if_any(_refusal(response))
    if response.status_code not in _WANTS_COOKIE:
        _refuse_error(symbol, _document(response, "quoteSummary").get("error"))


def _refusal(response: Any) -> TemporaryFailure | None:
    """Return what it means if Yahoo does not answer at all."""
    if response.status_code == 429:
        wait = _retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC))
        return TemporaryFailure("yahoo takes no more requests for now", retry_after_seconds=wait)
    if response.status_code >= 500:
        return TemporaryFailure(f"yahoo is not available (HTTP {response.status_code})")
    return None


def _raise_if_any(error: TemporaryFailure | None) -> None:
    if error is not None:
        raise error


def _document(response: Any, name: str) -> Mapping[str, Any]:
    try:
        document = json.loads(response.content)[name]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise TemporaryFailure("yahoo gave an answer that cannot be read") from exc
    if not isinstance(document, Mapping):
        raise TemporaryFailure("yahoo gave an answer that cannot be read")
    return document


def _refuse_error(symbol: str, error: Any) -> None:
    if not error:
        return
    code, description = (str(error.get(each, "")) for each in ("code", "description"))
    if code.lower() == "not found":
        raise NotFound(f"yahoo does not know {symbol}")
    if not any(words in description.lower() for words in _NOTHING_THERE):
        raise TemporaryFailure(f"yahoo reports an error: {description or code}")


def _times(symbol: str, result: Any, answered_at: datetime | None) -> AnswerTimes:
    try:
        meta = result["meta"]
        if str(meta["symbol"]).upper() != symbol.upper():
            raise TemporaryFailure(f"yahoo answered for {meta['symbol']} when it was asked for {symbol}")
        session = meta.get("currentTradingPeriod", {}).get("regular", {})
        return AnswerTimes(
            answered_at,
            _instant(meta.get("regularMarketTime")),
            _instant(session.get("end")),
            _instant(meta.get("firstTradeDate")),
        )
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as exc:
        raise TemporaryFailure("yahoo gave an answer that cannot be read") from exc


def _instant(seconds: Any) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _date(response: Any) -> datetime | None:
    """Return Yahoo's own clock as the answer's header has it."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def _retry_after(text: str, now: datetime) -> float | None:
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError):
        return None
