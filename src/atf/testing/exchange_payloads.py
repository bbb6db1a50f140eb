"""What Binance's spot interfaces answer, in shape and spelling; the numbers are the caller's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from atf.market.bars import COLUMNS, Bars, Series, to_nanoseconds
from atf.market.symbols import joined

Row = list[Any]

MAINTENANCE: Final = {"code": 1, "msg": "System is under maintenance."}
THROTTLED: Final = {"code": -1003, "msg": "Too many requests; please use the websocket for live updates."}
UNKNOWN_SYMBOL: Final = {"code": -1121, "msg": "Invalid symbol."}
UNKNOWN_INTERVAL: Final = {"code": -1120, "msg": "Invalid interval."}
BROKEN: Final = {"code": -1000, "msg": "An unknown error occurred while processing the request."}
HTML_PAGE: Final = (
    "<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>"
    "<body><h1>Checking your browser before you go on.</h1></body></html>\n"
)


def milliseconds(instant: datetime) -> int:
    """Return milliseconds since 1970 of an instant."""
    return to_nanoseconds(instant) // 1_000_000


def kline_rows(series: Series, bars: Bars) -> list[Row]:
    """Return bars as REST sends them: twelve columns, prices as text; null where a value is missing."""
    length = series.timeframe.length.total_seconds() * 1000
    rows = []
    for i in range(len(bars)):
        opens = int(bars.open_time[i]) // 1_000_000
        values = [_text(float(bars.column(name)[i])) for name in COLUMNS]
        rows.append([opens, *values, int(opens + length) - 1, "0.00000000", 1, "0.00000000", "0.00000000", "0"])
    return rows


def kline_frame(
    series: Series, open_time: datetime, values: Iterable[float], *, is_closed: bool, sent_at: datetime
) -> dict[str, Any]:
    """Return one state of a bar as the websocket sends it."""
    first, high, low, last, volume = (_text(value) for value in values)
    opens, symbol = milliseconds(open_time), joined(series.symbol)
    return {
        "e": "kline",
        "E": milliseconds(sent_at),
        "s": symbol,
        "k": {
            "t": opens,
            "T": milliseconds(open_time + series.timeframe.length) - 1,
            "s": symbol,
            "i": str(series.timeframe),
            "f": 100,
            "L": 200,
            "o": first,
            "c": last,
            "h": high,
            "l": low,
            "v": volume,
            "n": 101,
            "x": is_closed,
            "q": "0.00000000",
            "V": "0.00000000",
            "Q": "0.00000000",
            "B": "0",
        },
    }


def exchange_info(symbols: Iterable[str], now: datetime) -> dict[str, Any]:
    """Return the exchange's description of itself with these pairs, all trading."""
    return {
        "timezone": "UTC",
        "serverTime": milliseconds(now),
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 6100},
        ],
        "exchangeFilters": [],
        "symbols": [_market(symbol) for symbol in symbols],
    }


def _market(symbol: str) -> dict[str, Any]:
    base, _, quote = symbol.partition("/")
    return {
        "symbol": joined(symbol),
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.00", "stepSize": "0.00001"},
            {"filterType": "MIN_NOTIONAL", "minNotional": "10.0", "applyToMarket": True, "avgPriceMins": 5},
        ],
        "permissions": ["SPOT", "MARGIN"],
    }


def _text(value: float) -> str | None:
    return None if math.isnan(value) else f"{value:.8f}"
