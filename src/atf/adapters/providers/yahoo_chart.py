"""An answer of Yahoo's chart interface as a file holds it: one symbol's bars with its exchange's dates. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from atf.market.bars import COLUMNS, FloatArray, TimeArray, Timeframe, to_nanoseconds
from atf.market.resampling import opening_times

_BY_DATE: Final = {"1d": Timeframe.D1, "1wk": Timeframe.W1}


class ChartError(ValueError):
    """What is wrong with an answer, in one sentence."""


@dataclass(frozen=True, slots=True)
class ChartRows:
    """The bars of an answer. Shape: times (n,), values (n, 5). Time: ns UTC; a day is at 00:00Z of its date."""

    symbol: str
    times: TimeArray
    values: FloatArray


def chart_rows(answer: Mapping[str, Any]) -> ChartRows:
    """Return the bars of a chart answer; rows without any price are left out.

    Errors: ChartError.
    """
    try:
        error = answer["chart"].get("error")
        if error:
            raise ChartError(f"Yahoo answered: {error.get('description') or error.get('code')}")
        result = answer["chart"]["result"][0]
        return _rows(result, result["meta"])
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as exc:
        if isinstance(exc, ChartError):
            raise
        raise ChartError(f"not a whole answer of Yahoo's charts ({type(exc).__name__}: {exc})") from exc


def _rows(result: Mapping[str, Any], meta: Mapping[str, Any]) -> ChartRows:
    quote = result["indicators"]["quote"][0]
    times = result.get("timestamp", [])
    columns = [[np.nan if each is None else each for each in quote.get(name, [])] for name in COLUMNS]
    if any(len(column) != len(times) for column in columns):
        raise ChartError("an answer of Yahoo's charts with columns of several lengths")
    values = np.array(columns, dtype=np.float64).T.reshape(-1, len(COLUMNS))
    has_price = np.isfinite(values[:, :4]).any(axis=1)
    opens = np.array([_open_time(each, meta) for each in times], dtype=np.int64)
    return ChartRows(str(meta["symbol"]), opens[has_price], values[has_price])


def _open_time(seconds: int, meta: Mapping[str, Any]) -> int:
    timeframe = _BY_DATE.get(meta.get("dataGranularity", ""))
    if timeframe is None:
        return seconds * 10**9
    local = datetime.fromtimestamp(seconds, ZoneInfo(meta["exchangeTimezoneName"]))
    midnight = to_nanoseconds(datetime(local.year, local.month, local.day, tzinfo=UTC))
    return int(opening_times(np.array([midnight]), timeframe)[0])
