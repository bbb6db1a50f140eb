"""Documents of Yahoo's charts, made of bars in the shape of recorded ones, and of its summaries of symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from atf.market.bars import COLUMNS, Bars

Row = tuple[Any, ...]
RowChange = Callable[[list[Any]], list[Any]]

NOT_FOUND: Final = {
    "chart": {
        "result": None,
        "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"},
    }
}
NO_BARS: Final = {
    "chart": {
        "result": None,
        "error": {"code": "Bad Request", "description": "Data doesn't exist for startDate = 1, endDate = 2"},
    }
}
NOT_QUOTED: Final = {
    "quoteSummary": {"result": None, "error": {"code": "Not Found", "description": "Quote not found for symbol"}}
}


def _unauthorized(description: str) -> dict[str, Any]:
    return {"finance": {"result": None, "error": {"code": "Unauthorized", "description": description}}}


INVALID_CRUMB: Final = _unauthorized("Invalid Crumb")
INVALID_COOKIE: Final = _unauthorized("Invalid Cookie")


@dataclass(frozen=True, slots=True)
class SymbolFacts:
    """A symbol as Yahoo spells it, and its session: ``hours`` from a time of day in its zone on."""

    symbol: str
    zone: str = "UTC"
    opens: timedelta = timedelta(0)
    hours: float = 24.0
    kind: str = "CRYPTOCURRENCY"

    def opens_at(self, day: datetime) -> datetime:
        """Return when the session of a date begins."""
        local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.zone)) + self.opens
        return local.astimezone(UTC)

    def closes_at(self, day: datetime) -> datetime:
        """Return when the session of a date ends; Yahoo ends one of 24 hours a minute early."""
        return self.opens_at(day) + timedelta(hours=self.hours) - timedelta(minutes=self.hours >= 24)


STOCK: Final = SymbolFacts("AAPL", "America/New_York", timedelta(hours=9, minutes=30), 6.5, "EQUITY")


def rows_of(bars: Bars, facts: SymbolFacts, interval: str) -> list[Row]:
    """Return rows of seconds and values, oldest first; a day has the time at which its session begins."""
    is_day = interval == "1d"
    times = [bars.time_at(i) for i in range(len(bars))]
    seconds = [int((facts.opens_at(at) if is_day else at).timestamp()) for at in times]
    columns = [[None if math.isnan(v) else v for v in bars.column(name).tolist()] for name in COLUMNS]
    return list(zip(seconds, *columns, strict=True))


def chart(facts: SymbolFacts, rows: Sequence[Row], interval: str, traded_at: datetime, events: Any) -> Any:
    """Return a chart; without rows it is the meta alone, as for a range in which nothing was traded."""
    day = traded_at.astimezone(ZoneInfo(facts.zone))
    regular = _period(facts, day)
    meta: dict[str, Any] = {
        "currency": "USD",
        "symbol": facts.symbol,
        "instrumentType": facts.kind,
        "firstTradeDate": 345_479_400,
        "regularMarketTime": int(traded_at.timestamp()),
        "gmtoffset": 0,
        "timezone": "UTC",
        "exchangeTimezoneName": facts.zone,
        "priceHint": 2,
        "currentTradingPeriod": {"pre": dict(regular), "regular": regular, "post": dict(regular)},
        "dataGranularity": interval,
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "max"],
    }
    if interval != "1d":
        days = {datetime.fromtimestamp(row[0], ZoneInfo(facts.zone)).date(): row[0] for row in rows}
        meta["tradingPeriods"] = [
            [_period(facts, datetime.fromtimestamp(seconds, ZoneInfo(facts.zone)))] for seconds in days.values()
        ]
    result: dict[str, Any] = {"meta": meta, "indicators": {"quote": [{}]}}
    if rows:
        columns = dict(zip(COLUMNS, zip(*(row[1:] for row in rows), strict=True), strict=True))
        result["timestamp"] = [row[0] for row in rows]
        result["indicators"] = {
            "quote": [{name: list(values) for name, values in columns.items()}],
            "adjclose": [{"adjclose": list(columns["close"])}],
        }
    if events:
        result["events"] = events
    return {"chart": {"result": [result], "error": None}}


def _period(facts: SymbolFacts, day: datetime) -> dict[str, Any]:
    start, end = (int(at.timestamp()) for at in (facts.opens_at(day), facts.closes_at(day)))
    return {"timezone": "UTC", "start": start, "end": end, "gmtoffset": 0}


def summary(symbol: str, modules: Mapping[str, Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """Return the modules that a query names, with their numbers wrapped unless it wants them plain.

    Modules without a field are not there; two name the symbol whatever else they hold.
    """
    named = {name: {"symbol": symbol} for name in ("price", "quoteType")}
    wanted = [name for name in query.get("modules", "").split(",") if name in {**modules, **named}]
    is_plain = query.get("formatted") == "false"
    result = {
        name: {"maxAge": 86_400, **named.get(name, {}), **_spelled(modules.get(name, {}), is_plain=is_plain)}
        for name in wanted
    }
    return {"quoteSummary": {"result": [result], "error": None}}


def _spelled(fields: Mapping[str, Any], *, is_plain: bool) -> dict[str, Any]:
    return {
        name: value if is_plain or not isinstance(value, int | float) else {"raw": value, "fmt": f"{value:,}"}
        for name, value in fields.items()
    }
