"""Provider ``yahoo``: fundamentals of Yahoo Finance, from one document a symbol that yfinance's client fetches.

The client adds the cookie and the crumb that Yahoo wants for it. ``Ticker.info`` is not used: it asks three
times, and lets a second answer replace values of the first one that have another unit there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from atf.adapters.providers.yahoo_client import YahooClient
from atf.adapters.providers.yahoo_session import SUMMARY
from atf.clock import Clock, SystemClock
from atf.errors import InvalidInput, NotFound, TemporaryFailure
from atf.market.fundamentals import FIELDS, Fundamentals, parse_number
from atf.market.symbols import is_pair

_LOGGER = logging.getLogger(__name__)
_URL: Final = f"https://query2.finance.yahoo.com{SUMMARY}"
_QUERY: Final = {
    "modules": "price,quoteType,summaryDetail,defaultKeyStatistics,assetProfile",
    "formatted": "false",
    "lang": "en-US",
    "region": "US",
}
_OK: Final = 200

_TEXTS: Final = {
    "name": ("price.longName", "quoteType.longName", "price.shortName", "quoteType.shortName"),
    "sector": ("assetProfile.sector",),
    "industry": ("assetProfile.industry",),
    "currency": ("price.currency", "summaryDetail.currency"),
}
_NUMBERS: Final = {
    "market_cap": ("price.marketCap", "summaryDetail.marketCap"),
    "pe": ("summaryDetail.trailingPE",),
    "eps": ("defaultKeyStatistics.trailingEps",),
    # Fractions, all three. What has the same name in Yahoo's list of quotes, and so in yfinance's info, became
    # percent one day (0.35 is 0.35 % there), and no look at such a number tells the one from the other.
    "dividend_yield": (
        "summaryDetail.dividendYield",
        "summaryDetail.yield",
        "summaryDetail.trailingAnnualDividendYield",
    ),
    "average_volume": ("summaryDetail.averageVolume",),
}
"""Where each field is in the document; the first place that has a value counts. Funds have ``yield``."""
_WHOLE_UNITS: Final = {"GBp": "GBP", "GBX": "GBP", "ZAc": "ZAR", "ILA": "ILS"}
"""Prices come in hundredths there; market caps and earnings come in the whole unit nevertheless."""


class YahooFundamentals:
    """What Yahoo says of a company, fund, index or pair now.

    Units: as ``Fundamentals``; the dividend yield is the one that Yahoo expects of a year, of funds the one of
           the last twelve months. Average volumes are those of three months; of pairs there is none, as Yahoo
           counts money there.
    """

    name = "yahoo"

    def __init__(self, client: YahooClient, clock: Clock | None = None) -> None:
        """``client``: the one that bars are asked for with; who opened it closes it."""
        self._client = client
        self._clock = clock or SystemClock()

    async def fundamentals(self, symbol: str) -> Fundamentals:
        """Return what Yahoo knows of a symbol; a number that is impossible is left out and logged.

        Errors: NotFound for a symbol that Yahoo does not have, or has nothing about; TemporaryFailure;
                ConfigurationError without the extra.
        """
        return await self._client.in_thread(partial(self._fundamentals, symbol))

    def _fundamentals(self, symbol: str) -> Fundamentals:
        with self._client.asking(symbol) as (library, session, name):
            summary = self._summary(library.data.YfData(session=session), name)
            _require_about(name, summary)
            values = _values(symbol, summary)
        if all(value is None for value in values.values()):
            raise NotFound(f"yahoo has no fundamentals of {name}")
        return _possible(symbol, {"as_of": self._clock.now().date(), **values})

    def _summary(self, data: Any, name: str) -> Mapping[str, Any]:
        """Return the modules of a symbol's document; the session has refused what is no answer."""
        response = self._response(data, name)
        if response.status_code != _OK:
            self._client.forget_cookie()
            response = self._response(data, name)
        if response.status_code != _OK:
            raise TemporaryFailure("yahoo takes no request of ours for now")
        result = response.json()["quoteSummary"]["result"]
        if not result:
            raise NotFound(f"yahoo has no fundamentals of {name}")
        modules: Mapping[str, Any] = result[0]
        return modules

    def _response(self, data: Any, name: str) -> Any:
        """Return an answer, or what says that another cookie is wanted. Errors: why there is no crumb."""
        notes = self._client.notes
        notes.note_no_crumb(None)
        response = data.get(f"{_URL}{quote(name, safe='')}", {**_QUERY, "symbol": name}, self._client.timeout)
        reason = notes.no_crumb()
        if response.status_code != _OK and reason is not None:
            raise reason
        return response


def _require_about(name: str, summary: Mapping[str, Any]) -> None:
    found = _first(summary, ("price.symbol", "quoteType.symbol"))
    if str(found).upper() != name.upper():
        raise TemporaryFailure(f"yahoo answered for {found} when it was asked for {name}")


def _values(symbol: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    texts = {field: _text(_first(summary, places)) for field, places in _TEXTS.items()}
    if texts["currency"] is not None:
        texts["currency"] = _WHOLE_UNITS.get(texts["currency"], texts["currency"])
    numbers = {field: _number(summary, places) for field, places in _NUMBERS.items()}
    if is_pair(symbol):
        numbers["average_volume"] = None
    return {**texts, **numbers}


def _first(summary: Mapping[str, Any], places: tuple[str, ...]) -> Any:
    return next((value for place in places if (value := _value(summary, place)) is not None), None)


def _number(summary: Mapping[str, Any], places: tuple[str, ...]) -> float | None:
    """Return the first number that is there; some are the words NaN and Infinity. Errors: ValueError."""
    found = (parse_number(_value(summary, place)) for place in places)
    return next((number for number in found if number is not None), None)


def _value(summary: Mapping[str, Any], place: str) -> Any:
    """Return the value of a module's field, None if it is not there.

    Yahoo wraps values in objects with the raw one and its spellings if it is asked to, and at times if it is not.
    """
    module, _, field = place.partition(".")
    value = (summary.get(module) or {}).get(field)
    return value.get("raw") if isinstance(value, Mapping) else value


def _text(value: object) -> str | None:
    """Return text with single blanks and without what cannot be printed."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    words = " ".join(value.split())
    return "".join(letter for letter in words if letter.isprintable()) or None


def _possible(symbol: str, values: Mapping[str, Any]) -> Fundamentals:
    """Return fundamentals without the numbers that cannot be, so that one of them does not cost the others."""
    try:
        return Fundamentals(symbol, **values)
    except InvalidInput as exc:
        if exc.field not in FIELDS or values.get(exc.field) is None:
            raise
        _LOGGER.warning("What yahoo says of %s is left out: %s", symbol, exc)
        return _possible(symbol, {**values, exc.field: None})
